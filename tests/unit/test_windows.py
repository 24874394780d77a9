import numpy as np
import pytest

from streamer.align.windows import WindowBuilder, WindowSettings
from streamer.messages import BoldFrame, Flag, SessionTime

SETTINGS = WindowSettings(eeg_steps=4, bold_steps=6, pairing="display")


def frame(acquired: float, value: float = 1.0, tr: float = 1.0, flags: Flag = Flag.NONE) -> BoldFrame:
    regions = np.full(2, value, np.float32)
    at = SessionTime(acquired)
    return BoldFrame(0, "s1", regions, regions, np.zeros(6), 0.0, tr, at, at, flags)


def builder() -> WindowBuilder:
    return WindowBuilder(SETTINGS, 3, 2, 2)


def fill(windows: WindowBuilder, n: int, start: int = 0, *, valid: bool = True) -> None:
    for k in range(start, start + n):
        windows.eeg(k, np.full(3, k + 1.0, np.float32), SessionTime(0.1 * (k + 1)), Flag.NONE, valid=valid)


def test_before_anything_came_both_modalities_are_masked():
    window = builder().cut(SessionTime(1.0), None)
    assert not window.eeg_valid
    assert not window.bold_valid
    assert window.flags & Flag.NO_EEG
    assert window.flags & Flag.NO_BOLD
    assert window.age_eeg == window.age_bold == float("inf")
    assert not window.eeg.any()
    assert not window.bold.any()


def test_steps_average_the_fine_ones():
    windows = builder()
    fill(windows, 10)
    power = windows.power_steps()
    assert power is not None
    np.testing.assert_allclose(power[:, 0], [3.5, 5.5, 7.5, 9.5])


def test_a_hole_or_an_invalid_step_masks_the_eeg_until_it_has_passed():
    windows = builder()
    fill(windows, 8)
    fill(windows, 1, 9)
    assert windows.power_steps() is None
    fill(windows, 6, 10)
    assert windows.power_steps() is None
    fill(windows, 1, 16)
    assert windows.power_steps() is not None
    fill(windows, 1, 17, valid=False)
    assert windows.power_steps() is None


def test_a_grid_that_steps_back_starts_anew():
    windows = builder()
    fill(windows, 12, 1000)
    fill(windows, 7, 0)
    assert windows.power_steps() is None
    fill(windows, 1, 7)
    assert windows.power_steps() is not None


def test_flags_of_the_steps_are_in_the_window():
    windows = builder()
    fill(windows, 7)
    windows.eeg(7, np.ones(3, np.float32), SessionTime(0.8), Flag.CLIPPED, valid=True)
    assert windows.cut(SessionTime(0.8), None).flags & Flag.CLIPPED


@pytest.mark.parametrize("tr", [0.5, 1.0, 2.0])
def test_bold_lies_on_a_grid_in_seconds_whatever_the_tr(tr: float):
    windows = builder()
    for k in range(40):
        windows.bold(frame(k * tr, value=float(k * tr), tr=tr))
    newest = 39 * tr
    window = windows.cut(SessionTime(newest + 0.3), None)
    assert window.bold_valid
    wanted = [np.floor((newest - g) / tr + 1e-9) * tr for g in range(5, -1, -1)]
    np.testing.assert_allclose(window.bold[:, 0], wanted)
    assert window.age_bold == pytest.approx(0.3)


def test_a_missing_volume_is_held_over_and_a_longer_hole_masks():
    windows = builder()
    for k in [0, 1, 2, 3, 5, 6, 7, 8]:
        windows.bold(frame(float(k), value=float(k)))
    assert windows.cut(SessionTime(8.1), None).bold[:, 0].tolist() == [3, 3, 5, 6, 7, 8]
    windows = builder()
    for k in [0, 1, 2, 6, 7]:
        windows.bold(frame(float(k)))
    assert not windows.cut(SessionTime(7.1), None).bold_valid


def test_frames_that_come_out_of_order_are_put_in_order():
    one, two = builder(), builder()
    for k in range(8):
        one.bold(frame(float(k), value=float(k)))
    for k in [0, 1, 3, 2, 4, 6, 5, 7]:
        two.bold(frame(float(k), value=float(k)))
    np.testing.assert_array_equal(one.cut(SessionTime(7.5), None).bold, two.cut(SessionTime(7.5), None).bold)


def test_bold_that_is_too_young_for_its_history_is_masked_and_warming():
    windows = builder()
    for k in range(5):
        windows.bold(frame(float(k)))
    young = windows.cut(SessionTime(4.5), None)
    assert not young.bold_valid
    assert young.flags & Flag.WARMING
    windows.bold(frame(5.0))
    assert windows.cut(SessionTime(5.5), None).bold_valid


def test_old_bold_is_masked_and_called_stale():
    windows = builder()
    for k in range(8):
        windows.bold(frame(float(k)))
    window = windows.cut(SessionTime(7.0 + SETTINGS.age_bold_max_s + 0.1), None)
    assert not window.bold_valid
    assert window.flags & Flag.STALE


def test_frames_without_a_baseline_mask_the_bold():
    windows = builder()
    for k in range(8):
        windows.bold(frame(float(k), value=float("nan") if k < 4 else 1.0))
    assert not windows.cut(SessionTime(7.5), None).bold_valid


def test_old_eeg_is_masked_and_called_stale():
    windows = builder()
    fill(windows, 8)
    eeg = np.ones((4, 3), np.float32)
    assert windows.cut(SessionTime(0.8), eeg).eeg_valid
    late = windows.cut(SessionTime(0.8 + SETTINGS.age_eeg_max_s + 0.1), eeg)
    assert not late.eeg_valid
    assert late.flags & Flag.STALE


def test_windows_are_counted():
    windows = builder()
    assert [windows.cut(SessionTime(0.0), None).seq for _ in range(3)] == [0, 1, 2]


def test_history_too_short_for_a_model_to_learn_the_lag_is_refused():
    with pytest.raises(ValueError, match=r"3\.2 s of EEG and 6 s of BOLD: expected 12 s"):
        WindowSettings(eeg_steps=16, bold_steps=6)
    with pytest.raises(ValueError, match="lag bank of 4 s"):
        WindowSettings(pairing="bank")


def paired(settings: WindowSettings, n: int) -> tuple[WindowBuilder, np.ndarray]:
    """Steps whose value is their time, and a volume every 2 s, acquired up to 3 s before the newest step."""
    windows = WindowBuilder(settings, 1, 1, 2)
    for k in range(n):
        end = 0.1 * (k + 1)
        windows.eeg(k, np.full(1, end, np.float32), SessionTime(end), Flag.NONE, valid=True)
    newest = 0.1 * n - 3.0
    for k in range(15, -1, -1):
        windows.bold(frame(newest - 2.0 * k, tr=2.0))
    power = windows.power_steps(SessionTime(0.1 * n))
    assert power is not None
    return windows, power


def test_a_lag_bank_ends_where_the_newest_volume_does():
    windows, power = paired(WindowSettings(pairing="bank", eeg_steps=60), 400)
    assert power.shape == (60, 1)
    # a step's value is the mean time of its two fine steps, which end 0.1 s apart
    np.testing.assert_allclose(power[:, 0], 37.0 - 0.05 - 0.2 * np.arange(59, -1, -1), rtol=1e-6)
    np.testing.assert_array_equal(windows.paired(power), power)


def test_hrf_pairing_puts_an_event_where_the_volume_shows_it():
    settings = WindowSettings(pairing="hrf", eeg_steps=60)
    windows, power = paired(settings, 700)
    assert power.shape == (60 + 119, 1)
    assert power[-1, 0] == pytest.approx(67.0 - 0.05)
    # a constant stays; a short event 7 s before the newest step is at its height 2 s before it
    np.testing.assert_allclose(windows.paired(np.ones((179, 1), np.float32)), 1.0, rtol=1e-5)
    event = np.zeros((179, 1), np.float32)
    event[-1 - 35] = 1.0
    assert int(np.argmax(windows.paired(event)[:, 0])) == 60 - 1 - 10


def test_without_a_volume_the_paired_eeg_ends_now():
    windows = WindowBuilder(WindowSettings(pairing="bank", eeg_steps=60), 1, 1, 2)
    for k in range(400):
        windows.eeg(k, np.full(1, 0.1 * (k + 1), np.float32), SessionTime(0.1 * (k + 1)), Flag.NONE, valid=True)
    power = windows.power_steps(SessionTime(40.0))
    assert power is not None
    assert power[-1, 0] == pytest.approx(39.95)
    windows.bold(frame(30.0))
    stale = windows.power_steps(SessionTime(40.0))
    assert stale is not None
    assert stale[-1, 0] == pytest.approx(39.95)
