"""DICOM out: a volume as a Siemens-like mosaic, for the simulator and the rig.

A header is built once per series; for each volume only its number, times and UID are put in. There are no patient
fields in it but empty ones.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache

import numpy as np
from pydicom import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from streamer.formats.dicom_siemens import join_mosaic, tiles_per_side, write_csa
from streamer.messages import F64, Array, ScannerTime

_MR_IMAGE = UID("1.2.840.10008.5.1.4.1.1.4")
_PIXEL_DATA = struct.Struct("<HH2sHI")
_SHORT_ELEMENT = struct.Struct("<HH2sH")
_MAX_INSTANCE = 999_999
# what stands in the template where a volume's own values go; each is as wide as what replaces it
_SLOT_UID = "8888888"
_SLOT_TIME = "223344.111111"
_SLOT_INSTANCE = "777777"
_EMPTY_FIELDS = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber")


def write_mosaic(
    data: Array,
    affine: F64,
    *,
    tr: float,
    slice_times: tuple[float, ...],
    instance: int,
    series_number: int,
    series_uid: str,
    onset: ScannerTime,
    exported: ScannerTime | None = None,
    description: str = "bold",
) -> bytes:
    """Write one volume as a mosaic, explicit little endian.

    Parameters
    ----------
    data : array of uint16, shape (x, y, z)
        What :func:`streamer.formats.dicom.read_dicom` gives back when ``affine`` is left-handed, as scanners' are; of
        a right-handed one the slices come back in reverse, with an affine that says so.
    affine : array, shape (4, 4)
        Voxel index to RAS+ mm; its axes at right angles.
    tr : float
        s.
    slice_times : tuple of float
        s after the onset, one per slice along z; may be empty.
    instance : int
        InstanceNumber, from 1.
    series_number : int
        SeriesNumber, from 1.
    series_uid : str
        SeriesInstanceUID; the volume's own UID is made from it.
    onset : ScannerTime
        AcquisitionTime, s since midnight.
    exported : ScannerTime or None
        ContentTime, s since midnight; by default one TR after the onset.
    description : str
        SeriesDescription.

    Raises
    ------
    ValueError
        A parameter does not fit the format.
    """
    if data.dtype != np.uint16 or data.ndim != 3:
        raise ValueError(f"mosaic data is {data.dtype} with {data.ndim} axes: expected uint16 with 3")
    if not 1 <= instance <= _MAX_INSTANCE:
        raise ValueError(f"instance is {instance}: expected 1 to {_MAX_INSTANCE}")
    if slice_times and len(slice_times) != data.shape[2]:
        raise ValueError(f"{len(slice_times)} slice times for {data.shape[2]} slices: expected one each, or none")
    template = _template(
        tuple(data.shape), affine.astype(np.float64).tobytes(), tr, slice_times, series_number, series_uid, description
    )
    uid = f"{series_uid}.{1_000_000 + instance}"
    header = template
    for group, number, vr, slot, value in (
        (0x0002, 0x0003, b"UI", f"{series_uid}.{_SLOT_UID}", uid),
        (0x0008, 0x0018, b"UI", f"{series_uid}.{_SLOT_UID}", uid),
        (0x0008, 0x0032, b"TM", _SLOT_TIME, _time_of_day(onset)),
        (0x0008, 0x0033, b"TM", _SLOT_TIME, _time_of_day(onset + tr if exported is None else exported)),
        (0x0020, 0x0012, b"IS", _SLOT_INSTANCE, f"{instance:<6d}"),
        (0x0020, 0x0013, b"IS", _SLOT_INSTANCE, f"{instance:<6d}"),
    ):
        header = header.replace(_element(group, number, vr, slot), _element(group, number, vr, value), 1)
    pixels = join_mosaic(data).astype("<u2", copy=False).tobytes()
    return header + _PIXEL_DATA.pack(0x7FE0, 0x0010, b"OW", 0, len(pixels)) + pixels


def _element(group: int, number: int, vr: bytes, text: str) -> bytes:
    value = text.encode()
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return _SHORT_ELEMENT.pack(group, number, vr, len(value)) + value


def _time_of_day(seconds: float) -> str:
    ticks = round(seconds % 86400.0 * 1e6) % 86_400_000_000
    minutes, in_minute = divmod(ticks, 60_000_000)
    whole, fraction = divmod(in_minute, 1_000_000)
    return f"{minutes // 60:02d}{minutes % 60:02d}{whole:02d}.{fraction:06d}"


def _decimal(value: float) -> str:
    # a decimal string of DICOM holds 16 characters
    return next(text for digits in range(16, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)


@lru_cache(maxsize=8)
def _template(
    shape: tuple[int, int, int],
    affine_bytes: bytes,
    tr: float,
    slice_times: tuple[float, ...],
    series_number: int,
    series_uid: str,
    description: str,
) -> bytes:
    if len(series_uid) > 64 - 1 - len(_SLOT_UID):
        raise ValueError(f"series UID has {len(series_uid)} characters: expected at most {63 - len(_SLOT_UID)}")
    columns, rows, n_slices = shape
    side = tiles_per_side(n_slices)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.frombuffer(affine_bytes).reshape(4, 4)
    size = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / size
    if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
        raise ValueError("the affine's axes are not at right angles: a DICOM mosaic cannot hold it")
    across, down, normal = directions[:, 0], -directions[:, 1], directions[:, 2]
    first = lps[:3, 3] - down * size[1] * (rows - 1)
    corner = first - (side - 1) / 2 * (across * size[0] * columns + down * size[1] * rows)

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _MR_IMAGE
    meta.MediaStorageSOPInstanceUID = UID(f"{series_uid}.{_SLOT_UID}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    header.SOPClassUID = _MR_IMAGE
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    header.StudyInstanceUID = UID(f"{series_uid}.1")
    header.SeriesInstanceUID = UID(series_uid)
    for field in _EMPTY_FIELDS:
        setattr(header, field, "")
    header.Modality, header.Manufacturer, header.ManufacturerModelName = "MR", "SIEMENS", "simulated"
    header.SeriesDescription, header.SeriesNumber, header.AcquisitionNumber = description, series_number, _SLOT_INSTANCE
    header.AcquisitionTime, header.ContentTime, header.InstanceNumber = _SLOT_TIME, _SLOT_TIME, _SLOT_INSTANCE
    header.RepetitionTime = _decimal(tr * 1000.0)
    header.SliceThickness = header.SpacingBetweenSlices = _decimal(float(size[2]))
    header.PixelSpacing = [_decimal(float(size[1])), _decimal(float(size[0]))]
    header.ImageOrientationPatient = [_decimal(float(value)) for value in (*across, *down)]
    header.ImagePositionPatient = [_decimal(float(value)) for value in corner]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.Rows, header.Columns = side * rows, side * columns
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0

    times_ms = [value * 1000.0 for value in slice_times]
    private = header.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    private.add_new(0x0A, "US", n_slices)
    if times_ms:
        private.add_new(0x29, "FD", times_ms)
    csa = header.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    csa.add_new(0x08, "CS", "IMAGE NUM 4")
    csa.add_new(
        0x10,
        "OB",
        write_csa(
            {
                "NumberOfImagesInMosaic": ("US", [str(n_slices)]),
                "SliceNormalVector": ("FD", [f"{value:.12f}" for value in normal]),
                "MosaicRefAcqTimes": ("FD", [f"{value:.8f}" for value in times_ms]),
                "AcquisitionMatrixText": ("SH", [f"{rows}*{columns}"]),
            }
        ),
    )
    stream = io.BytesIO()
    header.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
