"""The regions over the EPI as a picture: slices through all of them, and three views of each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamer.messages import F32, F64, Array

MAX_VIEWS = 16
"""So many regions have three views of their own."""
_COLUMNS = 6
_MOST_SLICES = 24
_DPI = 110
_BRIGHT = ("#ff6b5e", "#4fb3ff", "#ffd23f", "#5fe08a", "#d08bff", "#ff9f45", "#4de3e3", "#ff8ac4")
_INK, _PAPER = "#f2f2f2", "#101114"


def colours(n: int) -> list[str]:
    """Colours that neighbours can be told apart by, ``#rrggbb``."""
    from matplotlib.colors import hsv_to_rgb, to_hex

    if n <= len(_BRIGHT):
        return list(_BRIGHT[:n])
    # the golden section leads furthest away from the colours before; all are light enough to be read on black
    hue = (0.618034 * np.arange(n)) % 1.0
    paleness = np.where(np.arange(n) % 2, 0.6, 0.85)
    return [to_hex(each) for each in hsv_to_rgb(np.stack([hue, paleness, np.ones(n)], axis=1))]


def draw(volume: F32, labels: Array, affine: F64, names: Sequence[str]) -> bytes:
    """Draw regions over a volume.

    Parameters
    ----------
    volume : array, shape (x, y, z)
    labels : array of int, shape (x, y, z)
        i + 1 in region ``names[i]``.
    affine : array, shape (4, 4)
        Voxel index to RAS+ mm.
    names : sequence of str

    Returns
    -------
    png : bytes
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = _Canvas(volume, labels, affine, colours(len(names)))
    slices = canvas.slices()
    views = min(len(names), MAX_VIEWS)
    top = -(-len(slices) // _COLUMNS)
    below = -(-views // 2)
    rest = range(views, len(names))
    legend = 0.08 * -(-len(rest) // _COLUMNS)
    n_rows = top + below
    height = 0.45 + 2.25 * n_rows + 2.25 * legend
    figure: Any = Figure(figsize=(2.15 * _COLUMNS, height), dpi=_DPI, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(n_rows, _COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, k in zip(axes[:top].flat, slices, strict=False):
        canvas.show(axis, 2, k)
    for region in range(views):
        row, left = top + region // 2, 3 * (region % 2)
        middle = canvas.middle(region + 1)
        for offset, along in enumerate((2, 1, 0)):
            axis = axes[row, left + offset]
            canvas.show(axis, along, middle[along], cross=middle)
        title = f"■ {_short(names[region], 44)}"
        axes[row, left].set_title(title, loc="left", color=canvas.colours[region], fontsize=9, fontweight="bold")
    bottom = (2.25 * legend + 0.08) / height
    figure.subplots_adjust(left=0.01, right=0.99, top=1 - 0.4 / height, bottom=bottom, wspace=0.04, hspace=0.16)
    for position, region in enumerate(rest):
        x, y = (position % _COLUMNS) / _COLUMNS + 0.012, bottom - 0.18 * (position // _COLUMNS + 1) / height
        figure.text(x, y, f"■ {_short(names[region], 24)}", color=canvas.colours[region], fontsize=8)
    figure.text(
        0.012, 1 - 0.25 / height,
        f"{len(names)} region{'s' * (len(names) != 1)} · L is the participant's left · RAS mm of the EPI",
        color=_INK, fontsize=10,
    )  # fmt: skip
    buffer = io.BytesIO()
    # without the version of the library: the same regions give the same file
    figure.savefig(buffer, format="png", facecolor=_PAPER, metadata={"Software": None})
    return buffer.getvalue()


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


class _Canvas:
    """The volume with its axes along x, y, z of the world as nearly as they go, x from left to right."""

    def __init__(self, volume: F32, labels: Array, affine: F64, palette: list[str]) -> None:
        import nibabel as nib
        from matplotlib.colors import to_rgb

        image: Any = nib.as_closest_canonical(nib.Nifti1Image(volume, affine))
        regions: Any = nib.as_closest_canonical(nib.Nifti1Image(labels.astype(np.int16), affine))
        self._volume = np.asarray(image.dataobj, np.float32)
        self._labels = np.asarray(regions.dataobj).astype(int)
        self._affine = np.asarray(image.affine, np.float64)
        self._size = np.linalg.norm(self._affine[:3, :3], axis=0)
        self._top = float(np.percentile(self._volume, 99.7)) or 1.0
        self.colours = palette
        self._rgb = np.array([to_rgb(each) for each in palette])

    def middle(self, region: int) -> tuple[int, int, int]:
        """The voxel of a region that is nearest to its middle."""
        index = np.argwhere(self._labels == region)
        nearest = index[np.argmin(((index - index.mean(axis=0)) ** 2).sum(axis=1))]
        return int(nearest[0]), int(nearest[1]), int(nearest[2])

    def slices(self) -> list[int]:
        """Slices that together show every region, and a few others between them."""
        n = self._labels.shape[2]
        chosen = {self.middle(k + 1)[2] for k in range(len(self.colours))}
        counts = np.count_nonzero(self._labels, axis=(0, 1))
        if len(chosen) > _MOST_SLICES:
            held = np.flatnonzero(counts)
            chosen = set(np.linspace(held[0], held[-1], _MOST_SLICES).round().astype(int).tolist())
        aim = min(_MOST_SLICES, n, max(_COLUMNS, -(-len(chosen) // _COLUMNS) * _COLUMNS))
        low, high = int(0.15 * n), int(0.9 * n)
        while len(chosen) < aim:
            taken = np.array(sorted(chosen))
            free = [k for k in range(n) if k not in chosen]
            inner = [k for k in free if low <= k <= high] or free
            chosen.add(max(inner, key=lambda k: (int(np.abs(taken - k).min()), -k)))
        return sorted(chosen)

    def show(self, axis: Any, along: int, k: int, cross: tuple[int, int, int] | None = None) -> None:
        """Draw one slice across an axis (0 sagittal, 1 coronal, 2 axial), with letters and its place in mm."""
        plane = tuple(each for each in range(3) if each != along)
        pick = tuple(k if each == along else slice(None) for each in range(3))
        grey = np.clip(self._volume[pick] / self._top, 0.0, 1.0).T
        labels = self._labels[pick].T
        picture = np.repeat((0.8 * grey**0.8)[..., None], 3, axis=2)
        inside = labels > 0
        picture[inside] = 0.35 * picture[inside] + 0.65 * self._rgb[labels[inside] - 1]
        width, height = (self._volume.shape[each] * self._size[each] for each in plane)
        axis.imshow(picture, origin="lower", extent=(0, width, 0, height), interpolation="nearest", aspect="equal")
        if cross is not None:
            place = [(cross[each] + 0.5) * self._size[each] for each in plane]
            axis.axvline(place[0], color=_INK, lw=0.5, alpha=0.45)
            axis.axhline(place[1], color=_INK, lw=0.5, alpha=0.45)
        # of an oblique slice, the place of the cross or of its middle
        point = np.array((np.array(self._volume.shape) - 1) / 2 if cross is None else cross, np.float64)
        point[along] = k
        at = float(self._affine[along, :3] @ point + self._affine[along, 3])
        plumb = np.abs(self._affine[along, :3]).sum() < 1.01 * self._size[along]
        sign = "=" if plumb or cross is not None else "≈"
        style: dict[str, Any] = {"transform": axis.transAxes, "fontsize": 8, "color": _INK}
        axis.text(0.98, 0.02, f"{'xyz'[along]} {sign} {at:.0f}", ha="right", va="bottom", **style)
        left, right = ("P", "A") if along == 0 else ("L", "R")
        axis.text(0.02, 0.5, left, ha="left", va="center", fontweight="bold", **style)
        axis.text(0.98, 0.5, right, ha="right", va="center", fontweight="bold", **style)
