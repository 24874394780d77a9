"""Names, tables and sidecars of BIDS."""

from __future__ import annotations

import json

import pytest

from streamer.errors import UsageError
from streamer.formats.bids import (
    Entities,
    EventRow,
    acq_time,
    bold_sidecar,
    channels_table,
    eeg_sidecar,
    events_table,
    physio_columns,
    physio_sidecar,
    table,
)
from streamer.messages import ChannelInfo

CHANNELS = (ChannelInfo("Fp1", "eeg"), ChannelInfo("ECG", "ecg"), ChannelInfo("Resp", "misc", "N"))


def test_names_put_their_parts_in_order() -> None:
    full = Entities("07", "b", "nf", "2")
    assert full.path("eeg", "eeg.vhdr") == "sub-07/ses-b/eeg/sub-07_ses-b_task-nf_run-2_eeg.vhdr"
    assert full.path("func", "physio.json", "1") == (
        "sub-07/ses-b/func/sub-07_ses-b_task-nf_run-2_recording-1_physio.json"
    )
    assert full.scans == "sub-07/ses-b/sub-07_ses-b_scans.tsv"
    assert Entities().path("func", "bold.nii.gz") == "sub-01/func/sub-01_task-task_bold.nii.gz"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"subject": "A B"}, "subject is 'A B'"),
        ({"task": "../up"}, "task"),
        ({"session": ""}, "session"),
        ({"run": "x"}, "run"),
    ],
)
def test_labels_of_other_characters_are_refused(labels: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Entities(**labels)


def test_a_cell_is_never_empty_and_never_breaks_its_row() -> None:
    text = table(("a", "b", "c", "d"), [(None, float("nan"), "x\ty\nz", 1.25)])
    assert text == "a\tb\tc\td\nn/a\tn/a\tx y z\t1.25\n"
    assert table(("a",), [(1e-7,), (100.0,), (-0.0,), ("",)]) == "a\n0.0000001\n100\n-0\nn/a\n"


def test_events_count_from_the_file_that_they_stand_beside() -> None:
    rows = [
        EventRow(12.5, 0.0, "volume_trigger", "R128", 6250),
        EventRow(2.0, 20.0, "rest"),
        EventRow(15.0, 0.0, "nf_trigger", "reward", None, 0.75, 0.625, 0.0, float("inf"), "none", "score"),
    ]
    text, about = events_table(rows, 12.5, for_eeg=False)
    lines = [line.split("\t") for line in text.splitlines()]
    assert lines[0] == [
        "onset", "duration", "trial_type", "value", "eeg_sample",
        "source", "score", "threshold", "age_eeg", "age_fmri", "quality", "sham", "condition",
    ]  # fmt: skip
    assert [line[:5] for line in lines[1:]] == [
        ["-10.5", "20", "rest", "n/a", "n/a"],
        ["0", "0", "volume_trigger", "R128", "6250"],
        ["2.5", "0", "nf_trigger", "reward", "n/a"],
    ]
    assert lines[3][5:] == ["score", "0.75", "0.625", "0", "n/a", "none", "n/a", "n/a"]
    described = json.loads(about)
    assert list(described) == lines[0]
    assert set(described["trial_type"]["Levels"]) == {"rest", "volume_trigger", "nf_trigger"}
    text, _ = events_table(rows[:2], 0.0, for_eeg=True)
    assert text.splitlines()[0] == "onset\tduration\ttrial_type\tvalue\tsample"


def test_the_eeg_sidecar_has_what_bids_demands() -> None:
    values = json.loads(eeg_sidecar("nf", CHANNELS, 500.0, 29.0, line_hz=None, continuous=False))
    assert {k: values[k] for k in ("TaskName", "EEGReference", "SamplingFrequency", "PowerLineFrequency")} == {
        "TaskName": "nf",
        "EEGReference": "n/a",
        "SamplingFrequency": 500.0,
        "PowerLineFrequency": "n/a",
    }
    assert values["SoftwareFilters"] == "n/a"
    assert (values["EEGChannelCount"], values["ECGChannelCount"], values["MISCChannelCount"]) == (1, 1, 1)
    assert values["RecordingType"] == "discontinuous"
    lines = [line.split("\t") for line in channels_table(CHANNELS, 500.0).splitlines()]
    assert lines[0][:3] == ["name", "type", "units"]
    assert [line[1] for line in lines[1:]] == ["EEG", "ECG", "MISC"]


def test_volumes_that_are_missing_turn_the_repetition_time_into_volume_timing() -> None:
    whole = json.loads(bold_sidecar("nf", 2.0, (0.0, 1.0), [0.0, 2.0, 4.0], 1.5))
    assert whole["RepetitionTime"] == 2.0
    assert "VolumeTiming" not in whole
    assert whole["SliceTiming"] == [0.0, 1.0]
    assert whole["StartTimeAfterEEG"] == 1.5
    holed = json.loads(bold_sidecar("nf", 2.0, (), [0.0, 4.0], None))
    assert "RepetitionTime" not in holed
    assert holed["VolumeTiming"] == [0.0, 4.0]
    assert holed["FrameAcquisitionDuration"] == 2.0
    assert "SliceTiming" not in holed


def test_physiology_has_bids_own_column_names() -> None:
    channels = (*CHANNELS[1:], ChannelInfo("ECG 2", "ecg"), ChannelInfo("SpO2 %", "misc", "%"))
    columns = physio_columns(channels)
    assert columns == ["cardiac", "respiratory", "cardiac_2", "spo2"]
    about = json.loads(physio_sidecar(columns, channels, 50.0, -2.0))
    assert (about["Columns"], about["SamplingFrequency"], about["StartTime"]) == (columns, 50.0, -2.0)
    assert about["respiratory"]["Units"] == "N"


def test_times_are_told_as_dates_that_are_none() -> None:
    assert acq_time(0.0) == "1925-01-01T00:00:00.000000"
    assert acq_time(-1.5) == "1924-12-31T23:59:58.500000"
    assert acq_time(3661.000001) == "1925-01-01T01:01:01.000001"
