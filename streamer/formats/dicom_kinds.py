"""Which DICOM objects are volumes of a run: everything else is told apart by its header, with the reason."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import Dataset
from pydicom.uid import UID

from streamer.formats.dicom_header import (
    ENHANCED_MR_IMAGE,
    MR_IMAGE,
    NotAnImageVolume,
    image_type,
    private_number,
    sop_class,
    texts,
)

EXPECTED = "expected an original magnitude volume"
_COMPLEX_PARTS = {
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
    "R": "real part",
    "REAL": "real part",
    "I": "imaginary part",
    "IMAGINARY": "imaginary part",
}
_OTHER_KINDS = {
    "DERIVED": "derived",
    "SECONDARY": "derived",
    "SCREEN SAVE": "screen save",
    "MOCO": "motion-corrected by the scanner",
    "LOCALIZER": "localiser",
    "PROJECTION IMAGE": "projection",
    "MIP": "projection",
    "MNIP": "projection",
    "MPR": "reformatted",
    "ADC": "diffusion map",
    "FA": "diffusion map",
    "TRACEW": "diffusion map",
    "DIFFUSION": "diffusion-weighted",
    "T2 MAP": "map",
    "T1 MAP": "map",
    "FIELD MAP": "map",
    "T_TEST": "statistical map",
    "T-TEST": "statistical map",
    "TTEST": "statistical map",
    "GLM": "statistical map",
}
_SERIES_ENDS = (
    ("MOCOSERIES", "motion-corrected by the scanner"),
    ("_MOCO", "motion-corrected by the scanner"),
    ("_PHA", "phase"),
    ("_SBREF", "single-band reference"),
    ("_SBREF_PHA", "single-band reference"),
)
# what the Siemens console itself calls the series that it works out during a run
_SERIES_NAMES = {
    "PHOENIXZIPREPORT": "protocol report",
    "EVASERIES_GLM": "statistical map",
    "STARTFMRI": "statistical map",
    "MEAN_&_T-MAPS": "statistical map",
}
_OBJECTS = (
    ("1.2.840.10008.5.1.4.1.1.88", "structured report"),
    ("1.2.840.10008.5.1.4.1.1.11", "presentation state"),
    ("1.2.840.10008.5.1.4.1.1.66", "raw data or registration"),
    ("1.2.840.10008.5.1.4.1.1.7", "screenshot"),
    ("1.2.840.10008.5.1.4.1.1.9", "waveform"),
    ("1.2.840.10008.5.1.4.1.1.104", "document"),
    ("1.2.840.10008.1.3.10", "directory of a medium"),
    ("1.3.12.2.1107.5.9.1", "Siemens report or log"),
)
_GE_PARAMETERS = "GEMS_PARM_01"


def refuse_other_kinds(header: Dataset, name: str) -> None:
    """Raise :class:`NotAnImageVolume` for what is no original magnitude image of the scanner.

    Frames of an enhanced object may each be of a kind of their own: whether they are magnitudes is left to its reader
    (:func:`complex_part`).
    """
    kind = sop_class(header)
    if kind and kind not in {MR_IMAGE, ENHANCED_MR_IMAGE}:
        raise NotAnImageVolume(f"{name}: not an MR image ({_object(kind)})")
    if header.get("ConversionType", None):
        raise NotAnImageVolume(f"{name}: screenshot, {EXPECTED}")
    types = image_type(header)
    found = other_kind(types)
    if found is None and kind != ENHANCED_MR_IMAGE:
        found = complex_part((*types, *texts(header, "ComplexImageComponent")))
        if found is None and private_number(header, 0x0043, _GE_PARAMETERS, 0x2F, "<i2") not in {None, 0.0}:
            found = "phase, real or imaginary"
    if found is None:
        found = _by_series(header)
    if found is not None:
        raise NotAnImageVolume(f"{name}: {found} image, {EXPECTED}")


def other_kind(types: Iterable[str]) -> str | None:
    """Say what the values of ImageType or FrameType (upper case) call it, if that is not an original image."""
    return next((_OTHER_KINDS[part] for part in types if part in _OTHER_KINDS), None)


def complex_part(types: Iterable[str]) -> str | None:
    """Say which part of a complex image it is by ImageType, FrameType or ComplexImageComponent, if no magnitude."""
    return next((_COMPLEX_PARTS[part] for part in types if part in _COMPLEX_PARTS), None)


def _by_series(header: Dataset) -> str | None:
    comments = texts(header, "ImageComments")
    if comments and comments[0].startswith("SINGLE-BAND REFERENCE"):
        return "single-band reference"
    # Philips writes 0 to every image
    if float(header.get("DiffusionBValue", None) or 0.0) > 0.0:
        return "diffusion-weighted"
    for description in texts(header, "SeriesDescription"):
        if description in _SERIES_NAMES:
            return _SERIES_NAMES[description]
        for end, found in _SERIES_ENDS:
            if description.endswith(end):
                return found
    return None


def _object(kind: str) -> str:
    for root, words in _OBJECTS:
        if kind == root or kind.startswith(f"{root}."):
            return words
    # a class of the standard has a name; one that is not in it is some vendor's own
    known = UID(kind).name
    return "an object of a private kind" if known == kind else known.removesuffix(" Storage")
