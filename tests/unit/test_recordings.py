"""Recordings of every kind, and what is said of those that cannot be opened."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.acquire.recording import BlockEvent
from streamer.acquire.recordings import open_recording
from streamer.acquire.volume_pairing import number_pulses, onsets_by_pulses, split_runs
from streamer.errors import ConfigError, FormatError, RecordingError
from streamer.formats.brainvision import FileMarker, write_brainvision
from streamer.formats.dicom import write_mosaic
from streamer.formats.nifti import write_nifti
from streamer.messages import ChannelInfo, ScannerTime
from streamer.simulate.faults import FaultSettings
from streamer.simulate.session import SimulationSettings, simulate_session
from tests.unit.recording_files import RECOVERED, REFUSED, pair, write_bold, write_physio, write_xdf

AFFINE = np.array([[-3.0, 0, 0, 10], [0, 3, 0, -10], [0, 0, 4, -8], [0, 0, 0, 1]])
TOML = """\
schema = 1
kind = "recording"
[eeg]
file = "eeg.vhdr"
[bold]
directory = "dicom"
first_volume = 1
known_at = "export.tsv"
[regions]
labels = "regions.nii.gz"
names = "regions.tsv"
[events]
file = "events.tsv"
"""


def mosaic(k: int, series: int = 3, value: int = 0) -> bytes:
    data = np.full((8, 8, 4), 100 + k + value, np.uint16)
    return write_mosaic(
        data, AFFINE, tr=0.5, slice_times=(), instance=k + 1, series_number=series, series_uid=f"1.2.3.{series}",
        onset=ScannerTime(36000.0 + 0.5 * k),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """EEG of 4 s with three triggers; four volumes, the first of which is a dummy without a trigger."""
    markers = [FileMarker("Response", "R128", round(250 * (1.0 + 0.5 * k))) for k in range(3)]
    markers.append(FileMarker("Stimulus", "S  1", 3))
    channels = [ChannelInfo("Cz", "eeg"), ChannelInfo("ECG", "ecg")]
    samples = np.arange(2000, dtype=np.int16).reshape(1000, 2)
    write_brainvision(tmp_path / "eeg.vhdr", 250.0, channels, [samples], markers)
    (tmp_path / "dicom").mkdir()
    for k in range(4):
        (tmp_path / "dicom" / f"001_000003_{k + 1:06d}.dcm").write_bytes(mosaic(k))
    labels = np.zeros((8, 8, 4), np.int16)
    labels[2, 2, 2] = 1
    write_nifti(tmp_path / "regions.nii.gz", labels, AFFINE)
    (tmp_path / "regions.tsv").write_text("index\tname\n1\tspot\n")
    (tmp_path / "export.tsv").write_text("index\tknown_at_s\n0\t1.4\n1\t1.9\n2\t2.4\n3\t3.1\n")
    (tmp_path / "events.tsv").write_text("onset\tduration\ttrial_type\n2\t1\ttask\n1.0\t1\trest\n0\tn/a\tn/a\n")
    (tmp_path / "recording.toml").write_text(TOML)
    return tmp_path


def test_all_parts_on_one_axis(folder: Path):
    recording = open_recording(folder / "recording.toml")
    eeg, bold = recording.eeg, recording.bold
    assert eeg is not None
    assert bold is not None
    assert (eeg.sfreq, eeg.n_samples, [c.kind for c in eeg.channels]) == (250.0, 1000, ["eeg", "ecg"])
    np.testing.assert_allclose(eeg.read(10, 12), np.array([[20, 21], [22, 23]]) * 0.5e-6)
    assert [(m.label, m.sample) for m in eeg.markers] == [("S  1", 3), ("R128", 250), ("R128", 375), ("R128", 500)]
    assert (bold.n_volumes, bold.tr, bold.trigger, bold.first_volume) == (4, 0.5, "R128", 1)
    assert [bold.onset_s(k) for k in range(4)] == [0.5, 1.0, 1.5, 2.0]
    assert [bold.known_at_s(k) for k in range(4)] == [1.4, 1.9, 2.4, 3.1]
    assert [bold.volume(k).index for k in range(4)] == [0, 1, 2, 3]
    assert bold.volume(2).data[0, 0, 0] == 102
    assert bold.file(2) == folder / "dicom" / "001_000003_000003.dcm"
    assert recording.regions is not None
    assert recording.regions.names == ("spot",)
    assert recording.events == (BlockEvent(1.0, 1.0, "rest"), BlockEvent(2.0, 1.0, "task"))
    assert recording.duration_s == 4.0
    assert recording.name == folder.name


def test_one_part_alone(folder: Path):
    eeg = open_recording(folder / "eeg.vhdr")
    assert eeg.bold is None
    assert eeg.duration_s == 4.0
    dicom = open_recording(folder / "dicom").bold
    assert dicom is not None
    assert [dicom.onset_s(k) for k in range(4)] == [0.0, 0.5, 1.0, 1.5]
    assert dicom.known_at_s(3) == pytest.approx(1.5 + 0.5 + 0.6)
    data = np.random.default_rng(0).integers(0, 99, (4, 5, 6, 3)).astype(np.int16)
    write_nifti(folder / "run.nii.gz", data, AFFINE, 2.0)
    nifti = open_recording(folder / "run.nii.gz")
    assert nifti.name == "run"
    assert nifti.bold is not None
    assert (nifti.bold.n_volumes, nifti.bold.tr, nifti.bold.file(1)) == (3, 2.0, None)
    np.testing.assert_array_equal(nifti.bold.volume(1).data, data[..., 1])
    assert nifti.duration_s == pytest.approx(6.6)


def test_the_folder_of_a_recording_will_do_but_a_session_is_not_one_recording(folder: Path):
    assert open_recording(folder).name == folder.name
    (folder / "s" / "task").mkdir(parents=True)
    shutil.copy(folder / "recording.toml", folder / "s" / "task")
    with pytest.raises(RecordingError, match=r"task/recording\.toml"):
        open_recording(folder / "s")


@pytest.mark.parametrize(
    ("indices", "first", "triggers", "expected"),
    [
        ((0, 1, 2), 0, (1.0, 1.51, 2.0), (1.0, 1.51, 2.0)),
        ((0, 2), 0, (1.0, 1.51, 2.0), (1.0, 2.0)),
        ((0, 1, 2), 1, (1.0, 1.5), (0.5, 1.0, 1.5)),
        ((1, 3), 0, (1.0, 1.5), (1.5, 2.5)),
        # a missing, a doubled and a stray trigger shift none of the others
        ((0, 1, 2, 3), 0, (1.0, 1.5, 2.5), (1.0, 1.5, 2.0, 2.5)),
        ((0, 1, 2, 3), 0, (1.0, 1.5, 1.51, 2.0, 2.5), (1.0, 1.5, 2.0, 2.5)),
        ((0, 1, 2, 3), 0, (1.0, 1.5, 1.82, 2.0, 2.5), (1.0, 1.5, 2.0, 2.5)),
    ],
)
def test_volumes_begin_at_the_trigger_of_their_number(
    indices: tuple[int, ...], first: int, triggers: tuple[float, ...], expected: tuple[float, ...]
):
    train = number_pulses(triggers, 0.5, "R128")
    assert onsets_by_pulses(indices, first, train) == pytest.approx(expected)


@settings(deadline=None)
@given(
    st.sets(st.integers(1, 58), max_size=20),
    st.sets(st.integers(1, 58), max_size=8),
    st.floats(0.99, 1.01),
    st.integers(0, 2**32 - 1),
)
def test_whatever_triggers_are_lost_or_doubled_every_volume_keeps_its_place(
    lost: set[int], doubled: set[int], rate: float, seed: int
):
    rng = np.random.default_rng(seed)
    truth = 3.0 + 2.0 * rate * np.arange(60) + rng.uniform(-2e-3, 2e-3, 60)
    times = sorted(
        [float(truth[k]) for k in range(60) if k not in lost] + [float(truth[k]) + 0.01 for k in doubled - lost]
    )
    train = number_pulses(times, 2.0, "R128")
    onsets = onsets_by_pulses(range(60), 0, train)
    np.testing.assert_allclose(onsets, truth, atol=5e-3)
    said = "; ".join(train.problems)
    assert (f"{len(lost)} trigger" in said) == bool(lost)
    assert ("doubled" in said) == bool(doubled - lost)


@pytest.mark.parametrize(
    ("bold", "triggers", "n_volumes", "said"),
    [
        ("", (1.0, 1.5), 4, "2 triggers R128 for 4 volumes: the last 2 are placed by the TR alone"),
        ("", (1.0, 1.5, 2.0, 2.5, 3.0), 3, "5 triggers R128 for 3 volumes: the last 2 began none"),
        ("", (1.0, 1.56, 2.12, 2.68), 4, "TR is 0.56 s by the triggers R128, 0.5 s by the images' header"),
        (
            "onset_s = 3.0",
            (),
            3,
            "the volumes reach beyond the EEG: they run from 3.000 to 4.500 s, the EEG from 0 to 4",
        ),
        ("onset_s = -0.5", (), 3, "the volumes reach beyond the EEG: they run from -0.500 to 1.000 s"),
        ("", (0.5, 1.0, 1.5, 2.3, 2.8), 5, "go on out of step at 2.300 s"),
        ("", (0.5, 1.0, 1.7, 2.3, 3.2), 5, "irregular"),
    ],
)
def test_what_does_not_fit_together_is_said(
    tmp_path: Path, bold: str, triggers: tuple[float, ...], n_volumes: int, said: str
):
    recording = open_recording(pair(tmp_path, bold, triggers, n_volumes))
    assert said in "\n".join(recording.problems)


def test_parts_that_fit_leave_nothing_to_say(tmp_path: Path):
    recording = open_recording(pair(tmp_path))
    assert recording.problems == ()
    assert recording.bold is not None
    assert recording.bold.onsets == (1.0, 1.5, 2.0)


def test_without_triggers_the_onset_is_given(tmp_path: Path):
    bold = open_recording(pair(tmp_path, "onset_s = 0.7\nlatency_s = 1", ())).bold
    assert bold is not None
    assert bold.onsets == pytest.approx((0.7, 1.2, 1.7))
    assert bold.known_at == pytest.approx((2.2, 2.7, 3.2))


@pytest.mark.parametrize("name", RECOVERED)
def test_bad_input_that_is_read_all_the_same_says_so(tmp_path: Path, name: str):
    make, said = RECOVERED[name]
    recording = open_recording(make(tmp_path))
    problems = list(recording.problems)
    for part in (recording.eeg, recording.bold):
        problems += part.problems if part is not None else ()
    assert any(re.search(said, problem) for problem in problems), problems


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_that_is_no_recording_is_refused_in_words(tmp_path: Path, name: str):
    make, kind, said, _ = REFUSED[name]
    path = make(tmp_path)
    with pytest.raises(kind, match=f"(?s){said}"):
        open_recording(path)


def test_what_a_cut_file_still_holds_is_right(tmp_path: Path):
    eeg = open_recording(RECOVERED["truncated XDF"][0](tmp_path)).eeg
    assert eeg is not None
    assert 0 < eeg.n_samples < 5000
    np.testing.assert_allclose(eeg.read(0, eeg.n_samples)[:, 0], np.arange(eeg.n_samples) // 250 * 1e-6, rtol=1e-5)


def test_xdf_in_a_toml_with_a_stream_a_physiology_and_volumes(tmp_path: Path):
    write_xdf(tmp_path / "s.xdf")
    write_bold(tmp_path / "bold.nii.gz", 20, 1.0)
    write_physio(tmp_path / "belt_physio.tsv.gz")
    (tmp_path / "recording.toml").write_text(
        'schema = 1\nkind = "recording"\n[eeg]\nfile = "s.xdf"\nstream = "amp"\nunit = "mV"\n'
        '[bold]\nfile = "bold.nii.gz"\n[physio]\nfile = "belt_physio.tsv.gz"\nstart_s = 2.5\n'
    )
    recording = open_recording(tmp_path)
    assert recording.eeg is not None
    assert recording.bold is not None
    assert recording.problems == (
        "the volumes reach beyond the EEG: they run from 0.500 to 20.500 s, the EEG from 0 to 20.000 s",
    )
    np.testing.assert_allclose(recording.eeg.read(300, 301), [[1e-3, 1e-3]])
    assert recording.bold.onsets == pytest.approx(np.arange(20) + 0.5)
    (physio,) = recording.physio
    assert (physio.start_s, physio.n_samples) == (2.5, 200)


def test_a_folder_of_eeg_files_says_how_they_are_opened(tmp_path: Path):
    write_xdf(tmp_path / "a.xdf")
    with pytest.raises(RecordingError, match=r"no series of fMRI volumes.*by their names: a\.xdf"):
        open_recording(tmp_path)


@pytest.mark.parametrize("value", ["inf", "nan", '"soon"'])
def test_an_onset_that_is_no_time_is_refused(tmp_path: Path, value: str):
    with pytest.raises(ConfigError, match=r"bold\.onset_s"):
        open_recording(pair(tmp_path, f"onset_s = {value}"))


def test_a_unit_that_is_none_is_refused(folder: Path):
    (folder / "recording.toml").write_text(TOML.replace('"eeg.vhdr"', '"eeg.vhdr"\nunit = "Pa"'))
    with pytest.raises(ConfigError, match=r"eeg\.unit: .*expected V, mV or µV; given: 'Pa'"):
        open_recording(folder)


def test_a_unit_is_for_the_channels_that_tell_none(folder: Path):
    text = (folder / "eeg.vhdr").read_text(encoding="utf-8").replace("ECG,,0.5,µV", "ECG,,0.5,n/a")
    (folder / "eeg.vhdr").write_text(text, encoding="utf-8")
    (folder / "recording.toml").write_text(TOML.replace('"eeg.vhdr"', '"eeg.vhdr"\nunit = "mV"'))
    eeg = open_recording(folder).eeg
    assert eeg is not None
    assert [c.unit for c in eeg.channels] == ["V", "V"]
    np.testing.assert_allclose(eeg.read(10, 11), [[20 * 0.5e-6, 21 * 0.5e-3]], rtol=1e-6)


def test_all_problems_of_the_toml_are_listed(folder: Path):
    text = TOML.replace("schema = 1", "schema = 9").replace("first_volume = 1", 'first_volume = -5000\nflavour = "x"')
    (folder / "recording.toml").write_text(text.replace('[events]\nfile = "events.tsv"', "[events]\n[music]"))
    with pytest.raises(ConfigError) as caught:
        open_recording(folder)
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for part in (
        "schema",
        "bold.first_volume",
        "given: -5000",
        "bold.flavour: unknown key",
        "events.file",
        "music: unknown",
    ):
        assert part in problems


def test_all_missing_files_are_listed(folder: Path):
    for name in ("eeg.vhdr", "regions.tsv", "events.tsv"):
        (folder / name).unlink()
    with pytest.raises(ConfigError) as caught:
        open_recording(folder)
    assert [p.split(":")[0] for p in caught.value.problems] == ["eeg.file", "regions.names", "events.file"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ('schema = 1\nkind = "recording"\n', "expected a section"),
        ('schema = 1\nkind = "recording"\n[bold]\n', "either directory"),
        ("schema = ", "cannot be read as TOML"),
    ],
)
def test_an_unfit_toml_is_refused(folder: Path, change: str, complaint: str):
    (folder / "recording.toml").write_text(change)
    with pytest.raises(ConfigError, match=complaint):
        open_recording(folder)


def test_a_recording_without_the_triggers_it_names_is_refused(folder: Path):
    (folder / "recording.toml").write_text(TOML.replace("first_volume = 1", 'trigger = "T 1"'))
    with pytest.raises(RecordingError, match=r"no marker 'T 1' in the EEG.*R128, S  1"):
        open_recording(folder)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("events.tsv", "onset\tduration\n1\t2\n", "no column trial_type"),
        ("events.tsv", "onset\tduration\ttrial_type\nsoon\t2\trest\n", "line 2 has onset 'soon'"),
        ("events.tsv", "onset\tduration\ttrial_type\n1\t-2\trest\n", "duration -2"),
        ("export.tsv", "index\tknown_at_s\n0\tlater\n", "line 2"),
    ],
)
def test_tables_that_cannot_be_read(folder: Path, name: str, content: str, complaint: str):
    (folder / name).write_text(content)
    with pytest.raises(FormatError, match=complaint):
        open_recording(folder)


def test_a_volume_without_an_export_time_is_said(folder: Path):
    (folder / "export.tsv").write_text("index\tknown_at_s\n0\t1.4\n1\t1.9\n")
    with pytest.raises(RecordingError, match="nothing of volume 2 and 1 more"):
        open_recording(folder)


def test_two_series_need_a_choice(folder: Path):
    for k in range(2):
        (folder / "dicom" / f"001_000007_{k + 1:06d}.dcm").write_bytes(mosaic(k, series=7))
    with pytest.raises(RecordingError, match=r"3 \(4 volumes\), 7 \(2 volumes\)"):
        open_recording(folder)
    (folder / "recording.toml").write_text(TOML.replace("first_volume = 1", "first_volume = 1\nseries = 7"))
    bold = open_recording(folder).bold
    assert bold is not None
    assert bold.n_volumes == 2


def test_a_repeated_volume_counts_once_but_not_when_it_differs(folder: Path):
    (folder / "dicom" / "001_000003_000000.dcm").write_bytes(mosaic(3))
    bold = open_recording(folder).bold
    assert bold is not None
    assert bold.n_volumes == 4
    (folder / "dicom" / "001_000003_000000.dcm").write_bytes(mosaic(3, value=1))
    with pytest.raises(RecordingError, match="both are volume 4, yet differ"):
        open_recording(folder)


def test_a_gap_in_the_numbers_stays_a_gap(folder: Path):
    (folder / "dicom" / "001_000003_000002.dcm").unlink()
    bold = open_recording(folder).bold
    assert bold is not None
    assert bold.indices == (0, 2, 3)
    assert [bold.onset_s(k) for k in range(3)] == [0.5, 1.5, 2.0]


def test_other_things_are_refused(tmp_path: Path):
    with pytest.raises(RecordingError, match="no such file"):
        open_recording(tmp_path / "none")
    with pytest.raises(RecordingError, match="no series of fMRI volumes"):
        open_recording(tmp_path)
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(RecordingError, match=r"expected recording\.toml"):
        open_recording(tmp_path / "a.doc")


def test_a_real_export_folder(shared_data: Path):
    run = open_recording(shared_data / "fmri" / "siemens-mosaic-neurofeedback" / "dicom").bold
    assert run is not None
    assert (run.n_volumes, run.tr, run.volume(154).index) == (155, 1.97, 154)
    repeated = open_recording(shared_data / "fmri" / "siemens-mosaic-export").bold
    assert repeated is not None
    assert repeated.indices == tuple(range(10))


@pytest.mark.parametrize(
    ("times", "lengths"),
    [
        ((0, 1, 2, 3), (4,)),
        ((0, 1, 2, 5.5, 6.5, 7.5), (3, 3)),
        ((0, 1, 1.4, 2, 3), (5,)),
        ((0, 1, 2.4, 3, 4), (5,)),
        ((0, 1, 4, 5), (4,)),
        ((0, 1, 31, 32), (2, 2)),
        ((), ()),
    ],
)
def test_triggers_are_split_where_the_scanner_began_anew(times: tuple[float, ...], lengths: tuple[int, ...]):
    runs = split_runs(times, 1.0)
    assert tuple(map(len, runs)) == lengths
    assert [at for run in runs for at in run] == list(times)


@pytest.mark.parametrize("dummies", [0, 2])
def test_a_scan_that_was_started_again_is_one_recording(tmp_path: Path, dummies: int):
    faults = FaultSettings(restart_s=((3.4, 20.0),), dummy_volumes=dummies)
    settings = SimulationSettings(
        sfreq=500.0, n_channels=11, grid=(12, 12, 6), calibration_s=4.0, block_s=4.0, n_blocks=10, faults=faults
    )
    simulate_session(tmp_path / "s", settings, workers=1)
    task = tmp_path / "s" / "task"
    recording = open_recording(task)
    bold, eeg = recording.bold, recording.eeg
    assert bold is not None
    assert eeg is not None
    with np.load(task / "truth.npz") as truth:
        there = truth["volume_index"] >= 0
        assert bold.indices == tuple(truth["volume_index"][there])
        np.testing.assert_allclose(bold.onsets, truth["volume_onsets"][there], atol=1e-3)
        np.testing.assert_allclose(bold.known_at, truth["known_at"][there], atol=1e-5)
    assert len({bold.volume(k).series for k in range(bold.n_volumes)}) == 2
    assert [bold.volume(k).index for k in range(bold.n_volumes)] == list(bold.indices)
    assert not recording.problems
    text = (task / "recording.toml").read_text()
    (task / "recording.toml").write_text(text.replace("[3, 4]", "[3, 4, 4]"))
    with pytest.raises(RecordingError, match=r"3 series, but the triggers R128 make 2 run"):
        open_recording(task)
