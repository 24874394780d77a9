from __future__ import annotations

import hashlib
import re
import shutil

import nibabel as nib
import numpy as np
import pytest

from streamer.errors import FormatError, IncompleteFile
from streamer.formats.parrec import par_files, read_parrec

CLASSIC = "fmri/philips-classic-golden"
DUMPS = "fmri/vendor-layouts/Philips_env/funcData/0001"


@pytest.fixture
def scan(shared_data, tmp_path):
    """A copy of the classic scan that a test may change."""
    for path in (shared_data / CLASSIC / "parrec").glob("phantom*"):
        shutil.copyfile(path, tmp_path / path.name)
    return next(tmp_path.glob("*.PAR"))


def rewritten(path, pattern, text, count=0):
    path.write_text(re.sub(pattern, text, path.read_text(), count=count, flags=re.MULTILINE))


def test_the_classic_scan_equals_its_dicom(shared_data):
    series = read_parrec(next((shared_data / CLASSIC / "parrec").glob("*.PAR")))
    reference = nib.load(next((shared_data / CLASSIC / "Ref").glob("*.nii")))
    stored = np.stack([series.stored(k) for k in range(len(series))], axis=-1)
    assert hashlib.sha256(stored.astype("<i2").tobytes()).hexdigest() == (
        "0d0daee7c6c3a4771e55be2305594c75a008fffcf98946158b38afbca35e6fda"
    )
    assert (len(series), series.tr, series.shape, series.indices) == (3, 2.0, (64, 64, 9), (0, 1, 2))
    assert series.problems == ()
    np.testing.assert_allclose(series.affine, reference.affine, atol=2e-3)
    np.testing.assert_allclose(series[1].data, stored[..., 1] * 1.29035, rtol=1e-5)
    assert [volume.index for volume in series[1:]] == [1, 2]
    assert series[-1].index == 2
    with pytest.raises(IndexError):
        series[3]


def test_a_pair_for_each_volume_makes_one_scan(shared_data):
    series = read_parrec(shared_data / DUMPS)
    assert (series.indices, series.tr, series.shape) == ((0, 1, 2, 3), 1.0, (80, 80, 15))
    assert any("images of type 17" in problem for problem in series.problems)
    assert any("repetition time 1 ms in the header" in problem for problem in series.problems)
    for k, start in enumerate(["a11aca34a9210c67", "c49bcab27c783f74", "239fbaff77b2dea3", "598f13fa354b9673"]):
        path = shared_data / DUMPS / f"Dump-{k:04d}.par"
        # two mixes of 15 slices, as nibabel orders them
        raw = np.fromfile(path.with_suffix(".rec"), "<i2").reshape(2, 15, 80, 80).transpose(3, 2, 1, 0)
        assert hashlib.sha256(np.ascontiguousarray(raw).tobytes()).hexdigest().startswith(start)
        # the second mix is the magnitude; each slice has a slope of its own
        np.testing.assert_array_equal(series.stored(k), raw[:, ::-1, :, 1])
        slopes = [float(line.split()[12]) for line in path.read_text().splitlines() if re.match(r"\d+ 1 1 0 16 ", line)]
        assert len(set(slopes)) > 1
        np.testing.assert_allclose(series[k].data, raw[:, ::-1, :, 1] * np.array(slopes), rtol=1e-5)


def test_one_pair_alone_needs_a_repetition_time(shared_data):
    path = shared_data / DUMPS / "Dump-0002.par"
    with pytest.raises(FormatError, match="repetition time 1 ms"):
        read_parrec(path)
    given = read_parrec(path, tr=1.5)
    assert given.tr == 1.5
    assert "repetition time 1 ms in the header: 1.5 s as given" in given.problems


def test_a_cut_rec_leaves_out_the_volumes_behind_the_cut(scan):
    rec = scan.with_suffix(".REC")
    raw = rec.read_bytes()
    rec.write_bytes(raw[: len(raw) * 2 // 3 + 100])
    series = read_parrec(scan)
    assert series.indices == (0, 1)
    assert "the file ends before volume 3 does" in series.problems[0]
    rec.write_bytes(raw[:50])
    with pytest.raises(IncompleteFile, match="no whole volume"):
        read_parrec(scan)
    rec.unlink()
    with pytest.raises(FormatError, match=r"no .*\.REC beside it"):
        read_parrec(scan)


def test_a_cut_table_leaves_out_the_volume_it_cuts(scan):
    lines = scan.read_text().splitlines(keepends=True)
    rows = [k for k, line in enumerate(lines) if re.match(r"\s+\d+\s+1\s+3\s", line)]
    scan.write_text("".join(lines[: rows[4]]))
    series = read_parrec(scan)
    assert series.indices == (0, 1)
    assert any("volume 3 has 4 of 9 slices" in problem for problem in series.problems)


def test_a_repetition_time_that_is_none_is_taken_from_the_volumes_times(scan):
    rewritten(scan, r"(Repetition time \[ms?e?c?\]\s*:).*", r"\1 0")
    series = read_parrec(scan)
    assert series.tr == 2.0
    assert "2 s by the volumes' times" in series.problems[0]


def test_no_name_leaves_the_reader(scan):
    rewritten(scan, r"(Patient name\s*:).*", r"\1 Sentinel^Person")
    rewritten(scan, r"(Examination name\s*:).*", r"\1 Sentinel")
    series = read_parrec(scan)
    assert "Sentinel" in scan.read_text()
    assert "Sentinel" not in repr((vars(series), series[0]))


def test_other_files_that_end_in_par_are_passed_over(tmp_path):
    (tmp_path / "bold_mc.par").write_text("0.0 0.1 0.2 0.3 0.4 0.5\n")
    assert par_files(tmp_path) == []
    with pytest.raises(FormatError, match=r"no \.PAR file"):
        read_parrec(tmp_path)
    with pytest.raises(FormatError, match="not a PAR table"):
        read_parrec(tmp_path / "bold_mc.par")
    with pytest.raises(FormatError, match="no such file"):
        read_parrec(tmp_path / "none.par")


def test_damaged_tables_raise_nothing_but_format_errors(scan):
    raw = scan.read_bytes()
    rng = np.random.default_rng(2)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(raw)
        for at in rng.integers(0, len(raw), rng.integers(1, 30)):
            damaged[at] = rng.integers(32, 127)
        scan.write_bytes(damaged)
        try:
            outcomes.add(read_parrec(scan, tr=2.0)[0].data.ndim)
        except FormatError:
            outcomes.add(0)
    assert outcomes <= {0, 3}


def rows_of(text):
    lines = text.splitlines(keepends=True)
    at = [k for k, line in enumerate(lines) if re.match(r"\s+\d+\s+\d+\s+\d+\s", line)]
    return lines, at


def test_an_export_of_version_4_is_read_as_its_successor_is(scan):
    expected = [volume.data for volume in read_parrec(scan)]
    lines, at = rows_of(scan.read_text())
    for k in at:
        # version 4 ends before the diffusion columns
        lines[k] = " ".join(lines[k].split()[:41]) + "\n"
    later = ("diffusion values", "gradient orients", "Number of label types")
    kept = (line for line in lines if line.startswith("#") or not any(key in line for key in later))
    scan.write_text("".join(kept).replace("V4.2", "V4"))
    series = read_parrec(scan)
    assert (series.tr, series.indices, series.problems) == (2.0, (0, 1, 2), ())
    for k, data in enumerate(expected):
        np.testing.assert_array_equal(series[k].data, data)


def doubled(scan, change, **general):
    """Write every image a second time, its row changed; the copy's values are the first one's plus 1000."""
    text = scan.read_text()
    for key, value in general.items():
        text = re.sub(rf"(Max. number of {key}\s*:\s*)\d+", rf"\g<1>{value}", text)
    lines, at = rows_of(text)
    copies = []
    for k in at:
        fields = lines[k].split()
        fields[6] = str(int(fields[6]) + len(at))
        copies.append("  " + " ".join(change(fields)) + "\n")
    lines[at[-1] + 1 : at[-1] + 1] = copies
    scan.write_text("".join(lines))
    rec = scan.with_suffix(".REC")
    values = np.fromfile(rec, "<i2")
    rec.write_bytes(np.concatenate([values, values + 1000]).astype("<i2").tobytes())


def test_phases_among_the_magnitudes_are_left_out(scan):
    expected = [volume.data for volume in read_parrec(scan)]

    def phase(fields):
        fields[4], fields[11] = "3", "-3142.00"
        return fields

    doubled(scan, phase)
    series = read_parrec(scan)
    assert "images of type 3 beside those of type 0 (the magnitude) are left out" in series.problems
    for k, data in enumerate(expected):
        np.testing.assert_array_equal(series[k].data, data)


def test_one_echo_of_several_is_taken_and_another_can_be_chosen(scan):
    stored = [read_parrec(scan).stored(k) for k in range(3)]

    def second(fields):
        fields[1] = "2"
        return fields

    doubled(scan, second, echoes=2)
    for echo, more in ((1, 0), (2, 1000)):
        series = read_parrec(scan, echo=echo)
        assert f"echoes 1, 2: echo {echo} is taken" in series.problems
        for k, data in enumerate(stored):
            np.testing.assert_array_equal(series.stored(k), data + more)
    with pytest.raises(FormatError, match="echo 1, 2, expected echo 3"):
        read_parrec(scan, echo=3)
