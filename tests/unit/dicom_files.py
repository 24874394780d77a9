"""DICOM files of the layouts that the program reads but does not write, made up for tests."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence

import numpy as np
from pydicom import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

MR = UID("1.2.840.10008.5.1.4.1.1.4")
ENHANCED = UID("1.2.840.10008.5.1.4.1.1.4.1")
ROOT = "1.2.826.0.1.3680043.8.498"
ANGLE = np.deg2rad(20)
ACROSS = np.array([1.0, 0.0, 0.0])
DOWN = np.array([0.0, np.cos(ANGLE), -np.sin(ANGLE)])
NORMAL = np.cross(ACROSS, DOWN)
ORIGIN = np.array([-40.0, -50.0, 10.0])
STEP, PIXEL = 4.0, (3.0, 2.5)
GRID = (6, 8, 5)
"""Columns, rows, slices."""


def data(volume: int, seed: int = 0) -> np.ndarray:
    """Stored values of a volume, shape (x, y, z)."""
    return np.random.default_rng((seed, volume)).integers(1, 3000, GRID).astype(np.int16)


def affine() -> np.ndarray:
    """Of the volumes of this module in stored order."""
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = ACROSS * PIXEL[1], -DOWN * PIXEL[0], NORMAL * STEP
    lps[:3, 3] = ORIGIN + DOWN * PIXEL[0] * (GRID[1] - 1)
    return np.diag([-1.0, -1, 1, 1]) @ lps


def slice_file(vendor: str, volume: int, z: int, *, series: int = 4, seed: int = 0, **changes: object) -> bytes:
    """Slice ``z`` of volume ``volume``, as ``GE``, ``Philips`` or ``Siemens`` export it."""
    header = _start(MR, series, f"{ROOT}.{series}.{volume}.{z}")
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    header.Manufacturer = {"GE": "GE MEDICAL SYSTEMS", "Philips": "Philips Medical Systems"}.get(vendor, "SIEMENS")
    header.ScanningSequence = ["EP", "GR"]
    header.RepetitionTime = "2000"
    header.AcquisitionTime = "100000" if vendor == "GE" else f"1000{2 * volume:02d}.25"
    header.SpacingBetweenSlices = header.SliceThickness = STEP
    header.PixelSpacing = list(PIXEL)
    header.ImageOrientationPatient = [f"{value:.12f}"[:16] for value in (*ACROSS, *DOWN)]
    header.ImagePositionPatient = [f"{value:.12f}"[:16] for value in ORIGIN + z * STEP * NORMAL]
    header.InstanceNumber = volume * GRID[2] + z + 1
    if vendor == "GE":
        relation = header.private_block(0x0021, "GEMS_RELA_01", create=True)
        relation.add_new(0x4F, "SS", GRID[2])
        relation.add_new(0x5E, "DS", "0.000000")
        protocol = gzip.compress(b'set TR "2000"\nset SLICEORDER "1"\n')
        block = len(protocol).to_bytes(4, "little") + protocol
        header.private_block(0x0025, "GEMS_SERS_01", create=True).add_new(0x1B, "OB", block + b"\0" * (len(block) % 2))
    elif vendor == "Philips":
        header.TemporalPositionIdentifier = volume + 1
        header.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x18, "SL", GRID[2])
        header.RescaleSlope, header.RescaleIntercept = 1.5, -2
    else:
        header.AcquisitionNumber = volume + 1
        header.AcquisitionTime = f"1000{2 * volume:02d}.{z * 25:03d}"
    return _end(header, data(volume, seed)[:, ::-1, z].T[None], changes)


def enhanced_file(volume: int, *, series: int = 2, order: tuple[int, ...] | None = None, **changes: object) -> bytes:
    """Write a volume as Siemens XA does; ``order`` says where each slice stands among the frames."""
    header = _start(ENHANCED, series, f"{ROOT}.{series}.{volume}")
    header.ImageType = ["ORIGINAL", "PRIMARY", "FMRI", "NONE"]
    header.Manufacturer, header.EchoPlanarPulseSequence = "Siemens Healthineers", "YES"
    header.ComplexImageComponent = "MAGNITUDE"
    header.NumberOfTemporalPositions = 20
    header.InstanceNumber = header.AcquisitionNumber = volume + 1
    header.NumberOfFrames = GRID[2]
    shared = Dataset()
    timing, measures, orientation = Dataset(), Dataset(), Dataset()
    timing.RepetitionTime = 2000
    measures.SpacingBetweenSlices = measures.SliceThickness = STEP
    measures.PixelSpacing = list(PIXEL)
    orientation.ImageOrientationPatient = [f"{value:.12f}"[:16] for value in (*ACROSS, *DOWN)]
    shared.MRTimingAndRelatedParametersSequence = [timing]
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    header.SharedFunctionalGroupsSequence = [shared]
    frames = order or tuple(range(GRID[2]))
    groups: list[Dataset] = []
    for z in frames:
        group, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [f"{value:.12f}"[:16] for value in ORIGIN + z * STEP * NORMAL]
        at = 86399.5 + 2 * volume + (z % 3) * 0.4 if z < 3 else 86399.5 + 2 * volume + (z % 3) * 0.4 + 0.2
        seconds = at % 86400
        clock = f"{int(seconds // 3600):02d}{int(seconds // 60 % 60):02d}{seconds % 60:09.6f}"
        content.FrameAcquisitionDateTime = f"2024010{1 + int(at >= 86400)}{clock}"
        content.TemporalPositionIndex = volume + 1
        group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
        groups.append(group)
    header.PerFrameFunctionalGroupsSequence = groups
    planes = data(volume)[:, ::-1].transpose(2, 1, 0)
    return _end(header, planes[list(frames)], changes)


def _start(kind: UID, series: int, uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    header.SOPClassUID, header.SOPInstanceUID = kind, UID(uid)
    header.SeriesInstanceUID, header.SeriesNumber = UID(f"{ROOT}.{series}"), series
    header.PatientName, header.PatientID, header.PatientBirthDate = "Sentinel^Person", "Sentinel", "19991231"
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    return header


def _end(header: FileDataset, planes: np.ndarray, changes: dict[str, object]) -> bytes:
    header.Rows, header.Columns = planes.shape[1:]
    header.PixelData = np.ascontiguousarray(planes).astype("<i2").tobytes()
    for key, value in changes.items():
        if value is None:
            delattr(header, key)
        else:
            setattr(header, key, value)
    stream = io.BytesIO()
    header.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def series_file(
    n_volumes: int = 3,
    *,
    maker: str = "Philips Medical Systems",
    n_echoes: int = 1,
    phase: bool = False,
    order: Sequence[int] | None = None,
    shared_plane: bool = False,
    slopes: bool = False,
    temporal: bool = True,
    drop: Sequence[int] = (),
    **changes: object,
) -> bytes:
    """Write a whole series as one enhanced file: volumes, echoes and parts of complex images among one another.

    ``order`` is that of the frames (volume slowest, then slice, echo, part), ``drop`` the frames that are not there.
    Values of echo e are ``data(volume)`` + 5000 e, those of phases are 7.
    """
    header = _start(ENHANCED, 9, f"{ROOT}.9.1")
    header.ImageType = ["ORIGINAL", "PRIMARY", "M_FFE", "M"]
    header.Manufacturer, header.InstanceNumber = maker, 1
    header.NumberOfTemporalPositions = n_volumes if temporal else None
    header.ComplexImageComponent = "MIXED" if phase else "MAGNITUDE"
    pointers = []
    for pointer in (0x00209056, 0x00209057, 0x00209128, 0x00189082):
        item = Dataset()
        item.DimensionIndexPointer = pointer
        pointers.append(item)
    header.DimensionIndexSequence = pointers
    shared, timing, measures = Dataset(), Dataset(), Dataset()
    timing.RepetitionTime = 1999.99975585937
    measures.SpacingBetweenSlices = measures.SliceThickness = STEP
    measures.PixelSpacing = list(PIXEL)
    plane = Dataset()
    plane.ImageOrientationPatient = [f"{value:.12f}"[:16] for value in (*ACROSS, *DOWN)]
    shared.MRTimingAndRelatedParametersSequence, shared.PixelMeasuresSequence = [timing], [measures]
    if shared_plane:
        shared.PlaneOrientationSequence = [plane]
    header.SharedFunctionalGroupsSequence = [shared]
    groups, planes = [], []
    for volume in range(n_volumes):
        for z in range(GRID[2]):
            for echo in range(n_echoes):
                for part in range(1 + phase):
                    group = _frame_group(volume, z, echo, part, n_volumes if temporal else 0)
                    if not shared_plane:
                        group.PlaneOrientationSequence = [plane]
                    if slopes:
                        scale = Dataset()
                        scale.RescaleSlope, scale.RescaleIntercept = str(1.5 + volume + z / 4), str(-z)
                        group.PixelValueTransformationSequence = [scale]
                        private = group.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
                        private.add_new(0x0E, "FL", 0.0042)
                    groups.append(group)
                    values = data(volume)[:, ::-1, z].T + 5000 * echo
                    planes.append(np.full_like(values, 7) if part else values)
    chosen = [k for k in (range(len(groups)) if order is None else order) if k not in drop]
    header.NumberOfFrames = len(chosen)
    header.PerFrameFunctionalGroupsSequence = [groups[k] for k in chosen]
    return _end(header, np.stack([planes[k] for k in chosen]), changes)


def _frame_group(volume: int, z: int, echo: int, part: int, n_volumes: int) -> Dataset:
    group, position, content, times, types = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [f"{value:.12f}"[:16] for value in ORIGIN + z * STEP * NORMAL]
    at = 36000 + 2 * volume
    content.FrameAcquisitionDateTime = f"20240101{at // 3600:02d}{at // 60 % 60:02d}{at % 60:02d}.250000"
    content.StackID, content.InStackPositionNumber = "1", z + 1
    content.DimensionIndexValues = [1, z + 1, volume + 1, echo + 1]
    if n_volumes:
        content.TemporalPositionIndex = volume + 1
    times.EffectiveEchoTime = 12.0 + 15.0 * echo
    types.FrameType = ["ORIGINAL", "PRIMARY", "PHASE MAP" if part else "M_FFE", "P" if part else "M"]
    types.ComplexImageComponent = "PHASE" if part else "MAGNITUDE"
    group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
    group.MREchoSequence, group.MRImageFrameTypeSequence = [times], [types]
    return group


def saved(header: Dataset) -> bytes:
    """Write a header that was read and changed."""
    stream = io.BytesIO()
    header.save_as(stream)
    return stream.getvalue()
