import pytest

from streamer.clock import LiveClock, ReplayClock
from streamer.messages import SessionTime


async def test_a_replay_clock_jumps_without_waiting():
    clock = ReplayClock()
    await clock.sleep_until(SessionTime(1e6))
    assert clock.now() == 1e6


async def test_a_replay_clock_never_goes_back():
    clock = ReplayClock()
    clock.jump(SessionTime(5.0))
    await clock.sleep_until(SessionTime(3.0))
    assert clock.now() == 5.0


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_is_none_is_refused(speed: float):
    with pytest.raises(ValueError, match="above 0"):
        ReplayClock(speed)


def test_the_live_clock_is_the_lsl_clock():
    from pylsl import local_clock

    before = local_clock()
    now = LiveClock().now()
    assert before <= now <= local_clock()
