from streamer.meter import KEPT, Meter


def test_percentiles_are_of_the_newest_values():
    meter = Meter()
    for _ in range(KEPT):
        meter.add("stage", 1.0)
    for _ in range(KEPT):
        meter.add("stage", 0.002)
    assert meter.latency_ms() == {"stage": (2.0, 2.0)}


def test_a_lap_ends_one_stage_and_starts_the_next():
    meter = Meter()
    meter.start()
    meter.lap("one")
    meter.lap("two")
    assert set(meter.latency_ms()) == {"one", "two"}
    assert all(p99 >= p50 >= 0 for p50, p99 in meter.latency_ms().values())
