"""What a scanner exports besides the volumes: its own motion-corrected copies."""

from __future__ import annotations

import io

from pydicom import dcmread
from pydicom.uid import UID


def motion_corrected(mosaic: bytes, series_number: int, series_uid: str) -> bytes:
    """Make of a volume, as ``write_mosaic`` gives it, one of the scanner's motion-corrected series."""
    header = dcmread(io.BytesIO(mosaic))
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "MB", "MOCO", "MOSAIC"]
    header.SeriesNumber = series_number
    header.SeriesDescription = "MoCoSeries"
    header.SeriesInstanceUID = UID(series_uid)
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = UID(f"{series_uid}.{header.InstanceNumber}")
    stream = io.BytesIO()
    header.save_as(stream)
    return stream.getvalue()
