"""DICOM push, with pynetdicom's own sender on the loopback."""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from pynetdicom import AE
from pynetdicom.sop_class import EnhancedMRImageStorage, MRImageStorage, Verification

from streamer.acquire.dicom_push import DicomPushSettings, DicomReceiver
from streamer.acquire.export_intake import FileProblem, VolumeIntake
from streamer.acquire.scanner_export import ExportDirectory, ExportSettings
from streamer.clock import stopwatch
from streamer.formats.dicom import read_dicom
from streamer.messages import SourceState, Volume
from tests.unit.dicom_files import GRID, enhanced_file, slice_file
from tests.unit.export_room import mosaic

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

MR_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless]


class Room:
    """A receiver, and what came of it."""

    def __init__(self, **settings) -> None:
        self.wake = threading.Event()
        self.intake = VolumeIntake(None, 10.0, stopwatch)
        self.receiver = DicomReceiver(DicomPushSettings(enabled=True, port=0, **settings), self.intake, self.wake)
        self.port = self.receiver.open()
        self.items = []

    @property
    def volumes(self):
        return [item for item in self.items if isinstance(item, Volume)]

    @property
    def problems(self):
        return [item for item in self.items if isinstance(item, FileProblem)]

    def look(self):
        self.items += self.receiver.poll()

    def until(self, fits, seconds=10.0):
        end = stopwatch() + seconds
        while not fits(self):
            assert stopwatch() < end, (self.intake.counts, self.items)
            self.wake.wait(0.02)
            self.wake.clear()
            self.look()

    def send(self, *files, title="SCANNER", called="STREAMER", kind=MRImageStorage, syntax=None):
        sender = associate(self.port, title, called, kind, syntax)
        assert sender.is_established
        codes = [send_raw(sender, raw, kind) for raw in files]
        sender.release()
        return codes


def associate(port, title="SCANNER", called="STREAMER", kind=MRImageStorage, syntax=None):
    entity = AE(ae_title=title)
    entity.add_requested_context(kind, syntax or MR_SYNTAXES)
    entity.add_requested_context(Verification)
    return entity.associate("127.0.0.1", port, ae_title=called)


def send_raw(sender, raw, kind):
    header = dcmread(io.BytesIO(raw), force=True)
    return sender.send_c_store(header).Status


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.receiver.close()


@pytest.fixture(autouse=True)
def nothing_is_printed(capfd, caplog):
    """Neither a traceback nor a word of pynetdicom's, whatever is sent."""
    caplog.set_level(logging.DEBUG)
    yield
    out, err = capfd.readouterr()
    assert not out
    assert not err
    for record in caplog.records:
        assert "Sentinel" not in record.getMessage()
        assert "19991231" not in record.getMessage()


def test_pushed_objects_become_volumes_in_the_order_of_their_numbers(room):
    assert room.send(mosaic(3), mosaic(1), mosaic(2)) == [0, 0, 0]
    room.until(lambda r: len(r.volumes) == 3)
    assert sorted(v.index for v in room.volumes) == [0, 1, 2]
    (state,) = [item for item in room.items if isinstance(item, SourceState)]
    assert (state.source, state.state) == ("push", "found")
    assert f"port {room.port}" in state.detail


def test_an_echo_is_answered(room):
    sender = associate(room.port)
    assert sender.send_c_echo().Status == 0
    sender.release()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_every_transfer_syntax_that_is_read_is_accepted(room, syntax):
    header = dcmread(io.BytesIO(mosaic(1, shape=(64, 64, 16))))
    if syntax in {RLELossless, JPEG2000Lossless}:
        header.compress(syntax)
    else:
        stream = io.BytesIO()
        header.file_meta.TransferSyntaxUID = syntax
        header.save_as(stream, implicit_vr=syntax.is_implicit_VR, little_endian=True)
        header = dcmread(io.BytesIO(stream.getvalue()))
    sender = associate(room.port, syntax=[syntax])
    assert sender.send_c_store(header).Status == 0
    sender.release()
    room.until(lambda r: r.volumes)
    np.testing.assert_array_equal(room.volumes[0].data, read_dicom(mosaic(1, shape=(64, 64, 16)), "as a file").data)


def test_an_enhanced_object_is_a_volume(room):
    assert room.send(enhanced_file(0), kind=EnhancedMRImageStorage) == [0]
    room.until(lambda r: r.volumes)
    assert room.volumes[0].data.shape == GRID


def test_slices_from_two_senders_at_once_are_put_together(room):
    files = [[slice_file("Philips", volume, z) for volume in range(3) for z in part] for part in ((0, 2, 4), (1, 3))]
    threads = [threading.Thread(target=room.send, args=each) for each in files]
    for thread in threads:
        thread.start()
    room.until(lambda r: len(r.volumes) == 3)
    for thread in threads:
        thread.join()
    assert sorted(v.index for v in room.volumes) == [0, 1, 2]
    assert room.intake.counts["pushed"] == 3 * GRID[2]
    assert not room.problems


def test_files_and_pushed_objects_are_one_run(room, tmp_path):
    directory = ExportDirectory(tmp_path, ExportSettings(), stopwatch, room.intake)
    directory.poll()
    for k in (1, 2):
        (tmp_path / f"{k}.dcm").write_bytes(mosaic(k))
    room.items += directory.poll()
    room.send(mosaic(2), mosaic(3))
    room.until(lambda r: len(r.volumes) == 3)
    assert [v.index for v in room.volumes] == [0, 1, 2]
    assert room.intake.counts["duplicates"] == 1
    directory.close()


def test_a_malformed_object_is_counted_and_the_next_is_taken(room):
    header = dcmread(io.BytesIO(mosaic(1)))
    del header.PixelData
    other = Dataset()
    other.SOPClassUID, other.SOPInstanceUID = MRImageStorage, "1.2.3"
    other.file_meta = header.file_meta
    other.Rows = 7
    sender = associate(room.port)
    assert [sender.send_c_store(each).Status for each in (header, other)] == [0, 0]
    sender.release()
    room.send(mosaic(2))
    room.until(lambda r: r.volumes)
    assert room.intake.counts["quarantined"] == 2
    assert all(problem.lost for problem in room.problems)
    assert "pushed object 1" in str(room.problems[0])


def test_what_is_no_volume_is_accepted_and_left_out(room):
    derived = dcmread(io.BytesIO(mosaic(1)))
    derived.ImageType = ["DERIVED", "PRIMARY", "MOCO"]
    stream = io.BytesIO()
    derived.save_as(stream)
    assert room.send(stream.getvalue(), mosaic(2)) == [0, 0]
    room.until(lambda r: r.volumes)
    assert room.intake.counts["not_images"] == 1
    assert "left out" in str(room.problems[0])


def test_a_wrong_title_is_refused_and_told_once():
    room = Room(calling=("SCANNER",))
    try:
        for title, called in (("STRANGER", "STREAMER"), ("SCANNER", "OTHER")):
            assert associate(room.port, title, called).is_rejected
        assert room.send(mosaic(1)) == [0]
        room.until(lambda r: r.volumes and r.intake.counts["refused"] == 2)
    finally:
        room.receiver.close()
    (problem,) = room.problems
    assert "refused" in str(problem)
    assert not problem.lost


def test_a_sender_that_breaks_off_within_an_object_is_counted(room):
    sender = associate(room.port)
    transport = sender.dul.socket
    sent = transport.send

    def send_and_break(pdu):
        if pdu[0] != 4 or pdu[11] & 1:
            sent(pdu)
            return
        # the first piece of values, as one that others follow
        transport.socket.sendall(pdu[:11] + b"\0" + pdu[12:])
        transport.socket.shutdown(socket.SHUT_RDWR)

    transport.send = send_and_break
    assert "Status" not in sender.send_c_store(dcmread(io.BytesIO(mosaic(1))))
    sender.join(5)
    room.until(lambda r: r.intake.counts["aborted"] == 1)
    assert room.problems[0].lost
    room.send(mosaic(2))
    room.until(lambda r: r.volumes)


def test_an_abort_between_objects_loses_nothing(room):
    sender = associate(room.port)
    assert send_raw(sender, mosaic(1), MRImageStorage) == 0
    sender.abort()
    room.until(lambda r: r.volumes)
    room.look()
    assert room.intake.counts["aborted"] == 0
    assert not room.problems


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.0\r\n\r\n", bytes(600), b"\x04\0\0\0\0\x08\0\0\0\x04\1\xff12", b"\x01"]
)
def test_noise_on_the_port_does_no_harm(room, noise):
    with socket.create_connection(("127.0.0.1", room.port)) as stranger:
        stranger.sendall(noise)
    room.send(mosaic(1))
    room.until(lambda r: r.volumes)
    assert [v.index for v in room.volumes] == [0]


def test_objects_that_come_faster_than_they_are_read_are_refused_not_hoarded(room, monkeypatch):
    raw = mosaic(1)
    monkeypatch.setattr("streamer.acquire.dicom_push.MAX_FILE_BYTES", int(2.5 * len(raw)))
    assert room.send(raw, mosaic(2), mosaic(3)) == [0, 0, 0xA700]
    room.look()
    assert [v.index for v in room.volumes] == [0, 1]
    assert room.intake.counts["overflowed"] == 1
    assert room.send(mosaic(3)) == [0]


def test_nothing_of_the_sender_is_left_when_it_closes(room):
    sender = associate(room.port)
    room.receiver.close()
    room.receiver.close()
    sender.join(5)
    assert not sender.is_established


def test_an_address_that_others_can_reach_needs_names():
    with pytest.raises(ValueError, match="name the senders"):
        DicomPushSettings(enabled=True, address="0.0.0.0")
    assert DicomPushSettings(enabled=True, address="0.0.0.0", calling=("MR1",)).calling == ("MR1",)
    with pytest.raises(ValueError, match="address"):
        DicomPushSettings(address="scanner")
