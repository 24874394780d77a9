"""Lines through numbered events: robust against some that are wrong, and finer than a sample where all are rounded."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from streamer.messages import F64

_BOX = 2.0
_SKIP_MAX = 0.1
_LEAST_AREA = 1e-9
_LEAST_SHARE = 0.02
_ENOUGH = 8


@dataclass(frozen=True, slots=True)
class Line:
    """``y = level + slope (k - at)``."""

    slope: float
    level: float
    at: float
    scatter: float
    """Standard deviation of the points that count, from their median distance to the line."""

    def __call__(self, k: float) -> float:
        """Read the line at ``k``."""
        return self.level + self.slope * (k - self.at)


def robust_line(k: F64, y: F64) -> Line:
    """Fit a line that points far off do not draw.

    The start is the median slope between the older and the newer half and the median level; then least squares over
    the points within three (robust) standard deviations of it.

    Parameters
    ----------
    k, y : array, shape (n,)
        At least two; ``k`` rising.
    """
    half = len(k) // 2
    slope = float(np.median((y[half:] - y[: len(y) - half]) / (k[half:] - k[: len(k) - half])))
    at = float(k[-1])
    level = float(np.median(y - slope * (k - at)))
    rest = y - (level + slope * (k - at))
    near = np.abs(rest)
    scatter = 1.4826 * float(np.median(near))
    good = near <= max(3.0 * scatter, 1e-9)
    if good.sum() >= 3:
        x, r = k[good] - at, rest[good]
        middle = x.mean()
        spread = float(((x - middle) ** 2).sum())
        tilt = float(((x - middle) * r).sum()) / spread
        level += float(r.mean()) - tilt * float(middle)
        slope += tilt
    return Line(slope, level, at, scatter)


def line_of_rounded(k: F64, y: F64) -> Line:
    """Fit a line through numbers that were rounded to whole ones.

    Rounding bounds the line: it passes within half of every number. Over n numbers these bounds leave a polygon of
    lines whose size falls about as 1/n, faster than the error of least squares; the answer is its centre of mass, the
    mean of all lines that fit. Numbers that no line through the others explains are left out, those that lie farthest
    from the robust line first; if they are more than a tenth, the error is not of rounding and the robust line stands.

    Parameters
    ----------
    k, y : array, shape (n,)
        At least two; ``k`` rising.
    """
    line = robust_line(k, y)
    if len(k) < _ENOUGH:
        return line
    rest = y - (line.level + line.slope * (k - line.at))
    half_span = 0.5 * float(k[-1] - k[0])
    x = (k - k[0]) / half_span - 1.0
    polygon = [(-_BOX, -_BOX), (_BOX, -_BOX), (_BOX, _BOX), (-_BOX, _BOX)]
    area = (2.0 * _BOX) ** 2
    left_out = 0
    for i in np.argsort(np.abs(rest), kind="stable").tolist():
        # lines are (level, tilt) about the middle: level + tilt x, against the robust line
        cut = _clip(polygon, float(x[i]), float(rest[i]) + 0.5, 1.0)
        cut = _clip(cut, float(x[i]), float(rest[i]) - 0.5, -1.0)
        if cut is polygon:
            continue
        left = _centre(cut)[0]
        if left < max(_LEAST_SHARE * area, _LEAST_AREA):
            # what leaves a corner of the others' lines at most is more likely wrong than they are
            left_out += 1
        else:
            polygon, area = cut, left
    if left_out > _SKIP_MAX * len(k):
        return line
    _, level, tilt = _centre(polygon)
    middle = float(k[0]) + half_span
    slope = line.slope + tilt / half_span
    moved = line.level + level + tilt / half_span * (line.at - middle)
    return Line(slope, moved, line.at, line.scatter)


_Point = tuple[float, float]


def _clip(polygon: list[_Point], x: float, bound: float, sign: float) -> list[_Point]:
    """Keep the part of a convex polygon where ``sign (level + tilt x) <= sign bound``."""
    over = [sign * (level + tilt * x - bound) for level, tilt in polygon]
    if max(over, default=0.0) <= 0.0:
        return polygon
    out: list[_Point] = []
    for i, (here, there) in enumerate(zip(polygon, [*polygon[1:], *polygon[:1]], strict=True)):
        a, b = over[i], over[(i + 1) % len(over)]
        if a <= 0.0:
            out.append(here)
        if (a < 0.0 < b) or (b < 0.0 < a):
            share = a / (a - b)
            out.append((here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1])))
    return out


def _centre(polygon: list[_Point]) -> tuple[float, float, float]:
    """Area of a polygon, and its centre of mass."""
    if len(polygon) < 3:
        return 0.0, 0.0, 0.0
    # about the first corner, so that a small polygon keeps its digits
    u0, v0 = polygon[0]
    area = level = tilt = 0.0
    for (u1, v1), (u2, v2) in pairwise([*polygon, polygon[0]]):
        a, b, c, d = u1 - u0, v1 - v0, u2 - u0, v2 - v0
        cross = a * d - c * b
        area += cross / 2.0
        level += cross * (a + c)
        tilt += cross * (b + d)
    if abs(area) < _LEAST_AREA:
        return 0.0, u0, v0
    return abs(area), u0 + level / (6.0 * area), v0 + tilt / (6.0 * area)
