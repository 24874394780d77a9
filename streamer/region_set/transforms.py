"""Transforms between MNI, T1 and EPI space: read from files, or estimated and judged.

All are matrices that take a point in RAS mm of the first space to the same place in RAS mm of the second:
``mni-to-epi`` says where in the EPI a place of the template is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from streamer.errors import RecordingError, UsageError
from streamer.formats.region_files import TransformFacts
from streamer.messages import F64
from streamer.region_set.affine_fit import (
    Picture,
    Signs,
    fit_affine,
    information_at,
    inverse,
    overlap,
)

MAX_TURN_DEG = 60.0
SCALES = (0.65, 1.6)
"""Heads and the template differ by no more."""
RIGID_SCALES = (0.98, 1.02)
MAX_SKEW = 1.6
"""Largest scale over the smallest."""
MIN_OVERLAP = 0.8
"""Share of the brain that must come to lie within the other image's."""
MAX_SPREAD_MM = 3.0
_SIDES_TELL = 1.03
"""By this factor the straight orientation must fit better than every mirrored one."""
_ITK = "#Insight Transform File"
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Transform:
    """Takes points of one space to another."""

    name: str
    """``mni-to-epi``, ``mni-to-t1`` or ``t1-to-epi``."""
    matrix: F64
    """RAS mm to RAS mm, shape (4, 4)."""
    how: Literal["given", "estimated"]
    facts: dict[str, float]

    def stored(self) -> TransformFacts:
        """What goes into regions.json."""
        return TransformFacts.model_validate(
            {"name": self.name, "how": self.how, "matrix": self.matrix.tolist(), "facts": self.facts}
        )


def read_matrix(path: Path) -> F64:
    """Read a transform from a file.

    Parameters
    ----------
    path : Path
        Four lines of four numbers, RAS mm to RAS mm; or an affine of ITK as text (``ConvertTransformFile`` of ANTs
        writes one), which takes points of the fixed image to the moving one, LPS mm.

    Returns
    -------
    matrix : array, shape (4, 4)
        RAS mm to RAS mm.

    Raises
    ------
    UsageError
        It is neither, or is FSL's or binary: what FSL's matrices mean depends on the voxels of two images.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path.name}: a binary file, expected text: four lines of four numbers, RAS mm to RAS mm ("
            "`c3d_affine_tool -itk FILE -o OUT.txt` or ANTs' ConvertTransformFile make text of ITK's)"
        ) from error
    if text.lstrip().startswith(_ITK):
        matrix = _itk(text, path.name)
    elif path.suffix.lower() == ".mat":
        raise UsageError(
            f"{path.name}: matrices of FSL's flirt (.mat) count in scaled voxels of two images, expected RAS mm to RAS "
            "mm: `c3d_affine_tool -ref TARGET -src SOURCE FILE -fsl2ras -inv -o OUT.txt` converts them"
        )
    else:
        matrix = _plain(text, path.name)
    if not np.isfinite(matrix).all() or np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-9:
        raise UsageError(f"{path.name}: last line {matrix[3].tolist()}, expected 0 0 0 1")
    return matrix


def _plain(text: str, name: str) -> F64:
    try:
        rows = [[float(each) for each in line.replace(",", " ").split()] for line in text.splitlines() if line.strip()]
        matrix = np.array(rows, np.float64)
    except ValueError as error:
        raise UsageError(f"{name}: expected four lines of four numbers, RAS mm to RAS mm") from error
    if matrix.shape != (4, 4):
        raise UsageError(f"{name}: {len(rows)} lines of numbers, expected four of four, RAS mm to RAS mm")
    return matrix


def _itk(text: str, name: str) -> F64:
    kinds = re.findall(r"^Transform:\s*(\S+)", text, re.MULTILINE)
    linear = ("AffineTransform", "MatrixOffsetTransformBase")
    if len(kinds) != 1 or not kinds[0].startswith(linear):
        raise UsageError(f"{name}: holds {', '.join(kinds) or 'no transform'}, expected one affine transform of ITK")
    try:
        numbers = [_itk_numbers(text, key) for key in ("Parameters", "FixedParameters")]
        parameters, centre = np.array(numbers[0]), np.array(numbers[1])
        linear_part = parameters[:9].reshape(3, 3)
        shift = parameters[9:12] + centre[:3] - linear_part @ centre[:3]
    except (ValueError, IndexError) as error:
        raise UsageError(f"{name}: expected 12 parameters and a centre of an affine transform of ITK") from error
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear_part, shift
    return _LPS @ matrix @ _LPS


def _itk_numbers(text: str, key: str) -> list[float]:
    found = re.search(rf"^{key}:(.*)$", text, re.MULTILINE)
    return [float(each) for each in found[1].split()] if found else []


def given_transform(name: str, path: Path) -> Transform:
    """Read a transform and refuse what no two images of a head can have between them.

    Raises
    ------
    UsageError
    """
    matrix = read_matrix(path)
    if wrong := implausible(matrix, rigid=name == "t1-to-epi"):
        raise UsageError(f"{path.name} ({name}): {wrong}")
    return Transform(name, matrix, "given", _shape_of(matrix))


def estimate(name: str, fixed: Picture, moving: Picture, *, rigid: bool, symmetric: bool) -> Transform:
    """Register two images and judge the result.

    Parameters
    ----------
    name : str
        Of the transform that is returned, which takes points of the moving image to the fixed one.
    fixed, moving : Picture
    rigid : bool
        Turn and shift alone.
    symmetric : bool
        Left and right cannot be told by the moving image.

    Raises
    ------
    RecordingError
        What was found cannot be trusted; what is wrong is said.
    """
    found = fit_affine(fixed, moving, 6 if rigid else 12, symmetric=symmetric)
    signs, ratio = found.swapped, found.swapped_share
    matrix = inverse(found.matrix)
    facts = {
        "information": found.information,
        "spread_mm": found.spread_mm,
        "overlap": overlap(fixed, moving, found.matrix),
        "swapped": ratio,
        **_shape_of(matrix),
    }
    if ratio > 1.0:
        raise RecordingError(
            f"{name}: the images fit better with {_swapped(signs, symmetric=symmetric)} swapped (by {ratio:.2f} "
            "times): the header of one of them says another orientation than the image has. Nothing is made of it"
        )
    reasons: list[str] = []
    if ratio > 1.0 / _SIDES_TELL:
        reasons.append(f"{_swapped(signs, symmetric=symmetric)} swapped fit as well ({ratio:.3f} of the information)")
    if found.spread_mm > MAX_SPREAD_MM:
        reasons.append(f"two halves of the points say transforms that are {found.spread_mm:.1f} mm apart")
    if facts["overlap"] < MIN_OVERLAP:
        reasons.append(f"{facts['overlap']:.0%} of the brain lies in the other image's, expected {MIN_OVERLAP:.0%}")
    if wrong := implausible(matrix, rigid=rigid):
        reasons.append(wrong)
    if reasons:
        raise RecordingError(
            f"{name}: the registration cannot be trusted: {'; '.join(reasons)}. Give the transform as a file "
            f"(--{name}), or a T1 image (--t1)"
        )
    return Transform(name, matrix, "estimated", facts)


def check_given(transform: Transform, fixed: Picture, moving: Picture) -> Transform:
    """Hold a transform that was given against the images; adds to its facts.

    Raises
    ------
    UsageError
        The images do not lie on each other with it, or do so better with its inverse.
    """
    from_fixed = inverse(transform.matrix)
    shared, fit = overlap(fixed, moving, from_fixed), information_at(fixed, moving, from_fixed)
    other = information_at(fixed, moving, transform.matrix)
    if other > 1.05 * fit and overlap(fixed, moving, transform.matrix) > shared:
        raise UsageError(
            f"{transform.name}: the images fit better with the inverse of what was given ({other:.3f} against "
            f"{fit:.3f}): expected the matrix that takes points of the first space to the second"
        )
    if shared < MIN_OVERLAP:
        raise UsageError(
            f"{transform.name}: with what was given, {shared:.0%} of the brain lies in the other image's, expected "
            f"at least {MIN_OVERLAP:.0%}"
        )
    facts = {**transform.facts, "information": fit, "overlap": shared}
    return Transform(transform.name, transform.matrix, transform.how, facts)


def implausible(matrix: F64, *, rigid: bool) -> str:
    """Say why no two images of heads have this between them; empty when they may."""
    linear = matrix[:3, :3]
    if np.linalg.det(linear) <= 0:
        return "it mirrors the head (its determinant is not above 0): left and right would be swapped"
    shape = _shape_of(matrix)
    if shape["turn_deg"] > MAX_TURN_DEG:
        return f"it turns the head by {shape['turn_deg']:.0f}°, expected at most {MAX_TURN_DEG:.0f}°"
    low, high = RIGID_SCALES if rigid else SCALES
    if shape["scale_least"] < low or shape["scale_most"] > high:
        return f"it scales by {shape['scale_least']:.2f} to {shape['scale_most']:.2f}, expected {low} to {high}"
    if shape["scale_most"] > MAX_SKEW * shape["scale_least"]:
        return f"it scales by {shape['scale_least']:.2f} to {shape['scale_most']:.2f}: no head is so much out of shape"
    return ""


def _shape_of(matrix: F64) -> dict[str, float]:
    left, scales, right = np.linalg.svd(matrix[:3, :3])
    cosine = (np.trace(left @ right) - 1.0) / 2.0
    return {
        "turn_deg": float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))),
        "scale_least": float(scales[-1]),
        "scale_most": float(scales[0]),
    }


def _swapped(signs: Signs, *, symmetric: bool) -> str:
    # of an image that is its own mirror image, a swap of front and back may as well be a turn by 180°
    words = ("left and right", "front and back", "up and down")
    text = " and ".join(word for word, sign in zip(words, signs, strict=True) if sign < 0)
    return f"{text} (perhaps left and right too)" if symmetric else text
