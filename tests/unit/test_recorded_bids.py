"""BIDS in: the run is chosen, its parts are paired, and what stands in tables and sidecars holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from streamer.acquire.bids_files import Beside, parse_name
from streamer.acquire.recording import BlockEvent
from streamer.acquire.recordings import open_recording
from streamer.errors import FormatError, RecordingError
from streamer.formats.brainvision import FileMarker, write_brainvision
from tests.unit.recording_files import CHANNELS, SFREQ, write_bold, write_eeg, write_physio

TRIGGERS = (1.0, 1.5, 2.0)
TABLE = "onset\tduration\ttrial_type\tvalue\tsample\n"


def events(
    triggers: tuple[float, ...] = TRIGGERS, rows: str = "0.4\t1.2\trest\tn/a\tn/a\n2\t1\ttask\tn/a\tn/a\n"
) -> str:
    # the onset is rounded to 0.01 s, the sample is exact
    pulses = "".join(f"{at + 0.001:.2f}\t0\tvolume_trigger\tn/a\t{round(at * SFREQ)}\n" for at in triggers)
    return TABLE + rows + pulses


def write_run(root: Path, run: str = "", triggers: tuple[float, ...] = TRIGGERS) -> Path:
    """One run of sub-01: EEG with triggers, volumes half a second apart, tables and sidecars; gives the subject."""
    subject = root / "sub-01"
    stem = f"sub-01_task-nf{run}"
    for kind in ("eeg", "func"):
        (subject / kind).mkdir(parents=True, exist_ok=True)
    write_eeg(subject / "eeg" / f"{stem}_eeg.vhdr", triggers=triggers)
    write_bold(subject / "func" / f"{stem}_bold.nii.gz")
    (root / "dataset_description.json").write_text("{}")
    (root / "task-nf_bold.json").write_text(json.dumps({"RepetitionTime": 0.5, "SliceTiming": [0, 0.25, 0.1, 0.35]}))
    (subject / "eeg" / f"{stem}_events.tsv").write_text(events(triggers))
    return subject


@pytest.fixture
def subject(tmp_path: Path) -> Path:
    return write_run(tmp_path)


def test_a_run_is_put_together(subject: Path):
    write_physio(subject / "func" / "sub-01_task-nf_physio.tsv.gz")
    (subject / "eeg" / "sub-01_task-nf_channels.tsv").write_text(
        "name\ttype\tunits\tstatus\nCz\tMISC\tuV\tgood\nECG\tECG\tµV\tbad\n"
    )
    recording = open_recording(subject)
    eeg, bold = recording.eeg, recording.bold
    assert eeg is not None
    assert bold is not None
    assert recording.name == "sub-01_task-nf"
    assert recording.problems == ()
    assert (eeg.n_samples, eeg.sfreq) == (1000, SFREQ)
    assert [(c.name, c.kind, c.unit) for c in eeg.channels] == [("Cz", "misc", "V"), ("ECG", "ecg", "V")]
    np.testing.assert_allclose(eeg.read(10, 11), [[10e-6, 10.5e-6]], rtol=1e-6)
    assert eeg.problems == ("sub-01_task-nf_channels.tsv: says that channels are bad: ECG",)
    # the triggers are markers of the EEG file already: they keep its label
    assert [m.label for m in eeg.markers] == ["R128"] * 3
    assert (bold.trigger, bold.onsets, bold.tr) == ("R128", TRIGGERS, 0.5)
    assert (bold.volume(1).index, bold.volume(1).slice_times) == (1, (0, 0.25, 0.1, 0.35))
    assert recording.events == (BlockEvent(0.4, 1.2, "rest"), BlockEvent(2.0, 1.0, "task"))
    (physio,) = recording.physio
    assert [(c.name, c.unit) for c in physio.channels] == [("cardiac", ""), ("respiratory", "Pa")]
    # StartTime counts from the first volume beside it
    assert (physio.sfreq, physio.n_samples, physio.start_s) == (50.0, 200, 0.5)
    np.testing.assert_array_equal(physio.read(2, 5), [[0.04, 2], [0.06, np.nan], [0.08, 4]])


def test_triggers_that_stand_in_the_table_alone_become_markers(subject: Path):
    write_eeg(subject / "eeg" / "sub-01_task-nf_eeg.vhdr", triggers=())
    recording = open_recording(subject)
    assert recording.eeg is not None
    assert recording.bold is not None
    assert [(m.label, m.sample, m.at_s) for m in recording.eeg.markers] == [
        ("volume_trigger", 250, 1.0), ("volume_trigger", 375, 1.5), ("volume_trigger", 500, 2.0),
    ]  # fmt: skip
    assert (recording.bold.trigger, recording.bold.onsets) == ("volume_trigger", TRIGGERS)


def test_events_are_the_markers_of_an_eeg_file_without_any(subject: Path):
    write_eeg(subject / "eeg" / "sub-01_task-nf_eeg.vhdr", triggers=())
    more = "3\t0\tmarker\tS  7\t750\n3.2\t0\tgap\tn/a\t800\n"
    (subject / "eeg" / "sub-01_task-nf_events.tsv").write_text(events((), more))
    (subject / "func" / "sub-01_task-nf_bold.nii.gz").unlink()
    eeg = open_recording(subject).eeg
    assert eeg is not None
    assert [(m.label, m.sample) for m in eeg.markers] == [("S  7", 750)]


def test_a_missing_row_shifts_no_volume_and_is_said(subject: Path):
    path = subject / "eeg" / "sub-01_task-nf_events.tsv"
    path.write_text(events((1.0, 2.0)))
    recording = open_recording(subject)
    assert recording.bold is not None
    assert recording.bold.onsets == pytest.approx(TRIGGERS)
    assert recording.problems == ("1 trigger is missing: R128",)


def test_the_sidecar_tells_when_the_volumes_began_where_no_row_does(subject: Path):
    (subject / "eeg" / "sub-01_task-nf_events.tsv").unlink()
    write_eeg(subject / "eeg" / "sub-01_task-nf_eeg.vhdr", triggers=())
    with pytest.raises(RecordingError, match="no marker 'R128' in the EEG"):
        open_recording(subject)
    (subject / "func" / "sub-01_task-nf_bold.json").write_text(json.dumps({"StartTimeAfterEEG": 1.25}))
    bold = open_recording(subject).bold
    assert bold is not None
    assert bold.onsets == (1.25, 1.75, 2.25)


def test_volumes_alone_bring_their_own_events(subject: Path):
    shutil.rmtree(subject / "eeg")
    (subject / "func" / "sub-01_task-nf_events.tsv").write_text("onset\tduration\ttrial_type\n0.5\t1\tface\n")
    recording = open_recording(subject)
    assert recording.eeg is None
    assert recording.bold is not None
    assert recording.bold.onsets == (0.0, 0.5, 1.0)
    assert recording.events == (BlockEvent(0.5, 1.0, "face"),)


def test_events_of_the_volumes_are_moved_to_the_axis_of_the_eeg(subject: Path):
    (subject / "eeg" / "sub-01_task-nf_events.tsv").write_text(events(rows=""))
    (subject / "func" / "sub-01_task-nf_events.tsv").write_text("onset\tduration\ttrial_type\n0.5\t1\tface\n")
    assert open_recording(subject).events == (BlockEvent(1.5, 1.0, "face"),)


def test_missing_volumes_keep_their_numbers(subject: Path):
    about = {"VolumeTiming": [0.0, 1.0, 1.5], "FrameAcquisitionDuration": 0.5}
    (subject.parent / "task-nf_bold.json").write_text(json.dumps(about))
    (subject / "eeg" / "sub-01_task-nf_events.tsv").write_text(events((1.0, 2.0, 2.5)))
    bold = open_recording(subject).bold
    assert bold is not None
    assert bold.indices == (0, 2, 3)
    assert bold.onsets == (1.0, 2.0, 2.5)
    assert bold.volume(1).index == 2


def test_a_sidecar_that_contradicts_is_said(subject: Path):
    (subject.parent / "task-nf_bold.json").write_text(json.dumps({"RepetitionTime": 0.6, "SliceTiming": [0.0]}))
    (subject / "eeg" / "sub-01_task-nf_eeg.json").write_text(json.dumps({"SamplingFrequency": 500}))
    problems = "\n".join(open_recording(subject).problems)
    for part in ("250 Hz, its sidecar says 500 Hz", "TR is 0.6 s by the sidecar, 0.5 s", "SliceTiming has 1 values"):
        assert part in problems


def test_several_runs_are_listed_and_one_is_chosen_by_a_file(tmp_path: Path):
    subject = write_run(tmp_path, "_run-1")
    write_run(tmp_path, "_run-2", triggers=(0.5, 1.0, 1.5))
    write_run(tmp_path, "_acq-x_run-3")
    with pytest.raises(RecordingError, match=r"3 runs, expected one.*sub-01_task-nf_run-1_eeg\.vhdr"):
        open_recording(subject)
    for name in ("eeg/{}_eeg.vhdr", "eeg/{}_eeg.eeg", "func/{}_bold.nii.gz"):
        recording = open_recording(subject / name.format("sub-01_task-nf_run-2"))
        assert recording.name == "sub-01_task-nf_run-2"
        assert recording.eeg is not None
        assert recording.bold is not None
        assert recording.bold.onsets == (0.5, 1.0, 1.5)


def test_dataset_subject_and_session_folders(tmp_path: Path):
    subject = write_run(tmp_path)
    assert open_recording(tmp_path).name == "sub-01_task-nf"
    session = subject / "ses-pre"
    session.mkdir()
    for kind in ("eeg", "func"):
        shutil.move(subject / kind, session / kind)
    for folder in (tmp_path, subject, session):
        recording = open_recording(folder)
        assert recording.bold is not None
        assert recording.bold.volume(0).slice_times == (0, 0.25, 0.1, 0.35)


def test_two_echoes_of_a_run_need_a_choice(subject: Path):
    one = subject / "func" / "sub-01_task-nf_bold.nii.gz"
    two = one.with_name("sub-01_task-nf_echo-2_bold.nii.gz")
    shutil.copy(one, two)
    with pytest.raises(RecordingError, match=r"several files for one run.*echo-2"):
        open_recording(subject)
    assert open_recording(two).bold is not None


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("eeg/sub-01_task-nf_events.tsv", TABLE + "soon\t1\trest\tn/a\tn/a\n", "line 2 has onset 'soon'"),
        ("eeg/sub-01_task-nf_events.tsv", "a\tb\n", "no column onset, duration"),
        ("eeg/sub-01_task-nf_channels.tsv", "name\n", "no column type, units"),
        ("func/sub-01_task-nf_bold.json", "[1]", "a list, expected a JSON object"),
        ("func/sub-01_task-nf_bold.json", "{", "cannot be read as JSON"),
        ("func/sub-01_task-nf_bold.json", '{"RepetitionTime": "2 s"}', "RepetitionTime in its sidecar is '2 s'"),
        ("func/sub-01_task-nf_bold.json", '{"SliceTiming": [0, "x", 1, 2]}', "SliceTiming in its sidecar is 'x'"),
        ("func/sub-01_task-nf_bold.json", '{"SliceTiming": 3}', "expected a list of numbers"),
        ("func/sub-01_task-nf_bold.json", '{"VolumeTiming": [0, 0.1, 0.2]}', "closer than the TR of 0.5 s"),
        ("func/sub-01_task-nf_bold.json", '{"StartTimeAfterEEG": NaN}', "StartTimeAfterEEG in its sidecar is nan"),
    ],
)
def test_tables_and_sidecars_that_cannot_be_read(subject: Path, name: str, text: str, complaint: str):
    (subject / name).write_text(text)
    with pytest.raises(FormatError, match=complaint):
        open_recording(subject)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"Columns": ["cardiac"]}, "2 columns, its JSON names 1"),
        ({"SamplingFrequency": 0}, "Hz above 0"),
        ({"StartTime": "soon"}, "StartTime 'soon', expected a number"),
        ({"Columns": None}, "expected a list of names"),
    ],
)
def test_physiology_that_contradicts_its_sidecar(subject: Path, change: dict[str, object], complaint: str):
    path = write_physio(subject / "eeg" / "sub-01_task-nf_physio.tsv.gz")
    sidecar = path.with_name("sub-01_task-nf_physio.json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **change}))
    with pytest.raises(FormatError, match=complaint):
        open_recording(subject)


def test_the_nearest_sidecar_has_the_last_word(tmp_path: Path):
    subject = write_run(tmp_path)
    (subject / "sub-01_bold.json").write_text('{"RepetitionTime": 0.7, "Site": "x"}')
    (subject / "func" / "sub-01_task-nf_bold.json").write_text('{"RepetitionTime": 0.5}')
    (subject / "func" / "sub-01_task-rest_bold.json").write_text('{"RepetitionTime": 9}')
    about = Beside(subject / "func" / "sub-01_task-nf_bold.nii.gz").metadata
    assert (about["RepetitionTime"], about["Site"], about["SliceTiming"]) == (0.5, "x", [0, 0.25, 0.1, 0.35])


def test_pauses_of_the_eeg_are_counted(subject: Path):
    vhdr = subject / "eeg" / "sub-01_task-nf_eeg.vhdr"
    marks = [
        FileMarker("New Segment", "", 0, "20240101120000000000"),
        FileMarker("New Segment", "", 500, "20240101120012000000"),
    ]
    write_brainvision(vhdr, SFREQ, CHANNELS, [np.zeros((1000, 2), np.int16)], marks)
    (subject / "eeg" / "sub-01_task-nf_events.tsv").write_text(
        TABLE
        + "".join(f"{at}\t0\tvolume_trigger\tn/a\t{sample}\n" for at, sample in ((12, 500), (12.5, 625), (13, 750)))
    )
    recording = open_recording(subject)
    assert recording.bold is not None
    assert recording.bold.onsets == pytest.approx((12.0, 12.5, 13.0))


def test_names_are_taken_apart():
    name = parse_name(Path("sub-01_ses-2_task-nf_run-03_bold.nii.gz"))
    assert name is not None
    assert (name.suffix, name.ending, name.run) == ("bold", ".nii.gz", ("01", "2", "nf", "03"))
    assert parse_name(Path("notes about sub-01.txt")) is None
    assert parse_name(Path("sub-01_task_eeg.vhdr")) is None


def test_a_real_dataset_without_signals_is_refused_with_the_reason(shared_data: Path):
    with pytest.raises(FormatError, match=r"sub-32_task-rest_eeg\.eeg"):
        open_recording(shared_data / "eeg" / "eeg-rest-fmri")
