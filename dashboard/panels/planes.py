"""Three planes through one place: the mean image in grey, a map as heat over it, and the numbers of the voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QSizePolicy, QToolButton

from dashboard.board import Board
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.colour_bar import HEAT, number
from dashboard.drawing.theme import look, px
from dashboard.figures.place import Place
from dashboard.figures.planes import Grid, grey_table, grid_of, head_centre, heat_table, nearest_region, white_step
from dashboard.panels.plane_view import Picture, PlaneView
from streamer.wire import About, VolumeMessage
from streamer.wire.volume_bytes import UNKNOWN, VolumeImage

MEAN = "mean"
STALE_TR = 3.0
USUAL_TR_S = 2.0
CONVENTIONS = {False: "neurological", True: "radiological"}
TIPS = {
    False: "neurological: the left of the head is on the left (Ctrl+M)",
    True: "radiological: the left of the head is on the right (Ctrl+M)",
}


@dataclass(frozen=True, slots=True)
class Looked:
    """What there is to look at, at the time that is shown."""

    message: VolumeMessage
    grid: Grid
    maps: tuple[str, ...]
    name: str | None
    """Of the map that is chosen."""
    about: About | None

    @property
    def image(self) -> VolumeImage | None:
        """The map that is chosen."""
        return self.message.images[self.name] if self.name is not None else None

    @property
    def mean(self) -> VolumeImage | None:
        """The mean image."""
        return self.message.images.get(MEAN)


def looked_at(board: Board, place: Place) -> Looked | str:
    """Find what there is to look at (the place learns of the maps), or a word that says why there is nothing."""
    message = board.view.images.at(board.shown)
    if message is None:
        return "no volumes yet" if board.view.images.newest is None else "no volume had come by then"
    grid = grid_of(message)
    if grid is None:
        return "the volumes have no usable position (their affine is singular)"
    place.units = {name: image.unit for name, image in message.images.items() if name != MEAN}
    return Looked(message, grid, tuple(place.units), place.mapped, board.about)


def settle(place: Place, looked: Looked) -> None:
    """Choose the middle of the head where no place is chosen, or one that lies outside of this head's volume."""
    mean = looked.mean
    if place.mm is None or looked.grid.voxel(place.mm) is None:
        steps = mean.steps if mean is not None else next(iter(looked.message.images.values())).steps
        place.move(head_centre(steps, looked.grid))


class Staleness:
    """Tells whether volumes fail to come; where the TR is not known it learns how far apart they are."""

    def __init__(self) -> None:
        self._last: tuple[float, int, str] | None = None
        self._spacing_s = 0.0

    def __call__(self, board: Board, message: VolumeMessage) -> int | None:
        """Tell how old a volume is, in whole seconds, if that is more than three volumes; else None."""
        now = (message.received, message.index, message.series)
        if self._last is not None and self._last != now and self._last[2] == message.series:
            self._spacing_s = abs((now[0] - self._last[0]) / max(1, abs(now[1] - self._last[1])))
        self._last = now
        about = board.about
        known = about.tr_s if about is not None and about.tr_s else self._spacing_s or USUAL_TR_S
        age = board.shown - message.received
        return int(age) if age > STALE_TR * max(known, self._spacing_s) else None


def stale_entry(old: int) -> tuple[str, str, str]:
    """Make the legend's entry."""
    return "▲", look().alarm, f"stale, {old} s old"


def map_word(looked: Looked) -> str | None:
    """Say why no map is seen; None when one is."""
    if looked.about is not None and looked.about.blinded and not looked.maps:
        return "blinded: no map is sent"
    if looked.image is None:
        return "no map is sent"
    if not (looked.image.steps != UNKNOWN).any():
        return f"{looked.name}: not known yet"
    return None


class PlanesPanel(Card):
    """Axial, coronal and sagittal plane through the place that is chosen.

    Parameters
    ----------
    place : Place
        What is looked at; shared with the other panels that show it.
    """

    key = "planes"

    def __init__(self, place: Place | None = None) -> None:
        super().__init__("Planes")
        self.place = place if place is not None else Place()
        self.view = PlaneView()
        self.view.chosen.connect(self.place.move)
        self.view.stepped.connect(self._step)
        self.maps = QComboBox()
        self.maps.setToolTip("the map over the mean image (M)")
        self.maps.setMaximumWidth(px(150))
        self.maps.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.maps.activated.connect(lambda index: self.place.choose(self.maps.itemText(index)))
        self.side = QToolButton()
        self.side.clicked.connect(self.place.flip)
        # the arrow keys move the place
        self.maps.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.side.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.tool(self.maps)
        self.tool(self.side)
        self.hold(self.view)
        self._names: tuple[str, ...] = ()
        self._listed: object = None
        self._key: object = None
        self._greys: tuple[Grid, int] | None = None
        self._stale = Staleness()

    def commands(self) -> Sequence[PanelCommand]:
        """Map, threshold, range and convention."""
        return (
            PanelCommand("Next map", self.place.next_map, "M"),
            PanelCommand("Raise the map's threshold", lambda: self.place.rethreshold(1), "T"),
            PanelCommand("Lower the map's threshold", lambda: self.place.rethreshold(-1), "Shift+T"),
            PanelCommand("Widen the map's colour range", lambda: self.place.rescale(1)),
            PanelCommand("Narrow the map's colour range", lambda: self.place.rescale(-1)),
            PanelCommand("Neurological or radiological", self.place.flip, "Ctrl+M"),
        )

    def state(self) -> dict[str, Any]:
        """Place, map, scales and convention."""
        return self.place.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave."""
        self.place.restore(state)

    def refresh(self, board: Board) -> None:
        """Show the volume that had come at the time shown."""
        looked = looked_at(board, self.place)
        if isinstance(looked, str):
            if self._key != looked:
                self._key = looked
                self.view.display(None, looked)
                self._list(())
                self.caption("")
            return
        message = looked.message
        old = self._stale(board, message)
        settle(self.place, looked)
        key = (message, looked.about, self.place.revision, old)
        if key == self._key:
            return
        self._key = key
        self._list(looked.maps)
        self.view.display(self._picture(looked))
        self._show_caption(looked, old)

    def readout(self) -> tuple[str, ...]:
        """Tell what is written about the place."""
        return self.view.picture.readout if self.view.picture is not None else ()

    def _picture(self, looked: Looked) -> Picture:
        place, grid, image, mean = self.place, looked.grid, looked.image, looked.mean
        assert place.mm is not None
        point = grid.point(place.mm)
        steps = mean.steps if mean is not None else np.full(grid.shape, UNKNOWN, np.int8)
        scale = place.scale(image.unit) if image is not None else None
        return Picture(
            grid=grid,
            grey=_cuts(grid, steps, point),
            greys=self._grey_table(grid, steps),
            mm=place.mm,
            radiological=place.radiological,
            heat=_cuts(grid, image.steps, point) if image is not None else None,
            heats=heat_table(image.scale, scale, HEAT) if image is not None and scale is not None else None,
            scale=scale,
            unit=image.unit if image is not None else "",
            readout=_readout(looked, place),
        )

    def _grey_table(self, grid: Grid, steps: Any) -> Any:
        # a white that follows every volume would flicker
        white = white_step(steps)
        held = self._greys
        if held is None or held[0] is not grid or abs(white - held[1]) > 0.1 * held[1]:
            self._greys = held = (grid, white)
        return grey_table(held[1])

    def _list(self, names: tuple[str, ...]) -> None:
        chosen = self.place.mapped if names else None
        if self._listed == (names, chosen, self.place.radiological):
            return
        if names != self._names or self._listed is None:
            self.maps.clear()
            self.maps.addItems(list(names))
        self._names = names
        self._listed = (names, chosen, self.place.radiological)
        self.maps.setVisible(bool(names))
        if chosen is not None:
            self.maps.setCurrentIndex(names.index(chosen))
        self.side.setText(CONVENTIONS[self.place.radiological])
        self.side.setToolTip(TIPS[self.place.radiological])

    def _show_caption(self, looked: Looked, old: int | None) -> None:
        entries: list[tuple[str, str, str]] = []
        if old is not None:
            entries.append(stale_entry(old))
        word = map_word(looked)
        if word is not None:
            entries.append(("", look().faint, word))
        entries.append(("", look().faint, f"volume {looked.message.index}"))
        self.legend(entries)

    def _step(self, steps: int, limit: bool) -> None:
        (self.place.rescale if limit else self.place.rethreshold)(steps)


def _cuts(grid: Grid, steps: Any, point: tuple[int, int, int]) -> Any:
    return tuple(grid.plane(steps, axis, point[axis]) for axis in range(3))


def value_text(image: VolumeImage, voxel: tuple[int, int, int]) -> str:
    """Write a voxel's value with its unit; "…" where unknown."""
    step = int(image.steps[voxel])
    if step == UNKNOWN:
        return "…"
    # the last step stands for everything beyond, too
    beyond = "" if abs(step) < 127 else "≥ " if step > 0 else "≤ "
    unit = f" {image.unit}" if image.unit == "%" else ""
    return f"{beyond}{number(step * image.scale, 2)}{unit}"


def _readout(looked: Looked, place: Place) -> tuple[str, ...]:
    assert place.mm is not None
    voxel = looked.grid.voxel(place.mm)
    entries: list[str] = []
    if looked.image is not None:
        value = value_text(looked.image, voxel) if voxel is not None else "…"
        entries.append(f"{looked.name} {value}".replace("t t ", "t "))
    x, y, z = place.mm
    sides = ("R" if x >= 0 else "L", "A" if y >= 0 else "P", "S" if z >= 0 else "I")
    entries.append(f"{abs(x):.0f} {sides[0]}  {abs(y):.0f} {sides[1]}  {abs(z):.0f} {sides[2]} mm")
    if looked.about is not None:
        nearest = nearest_region(place.mm, looked.about.regions, looked.about.regions_mm)
        if nearest is not None:
            entries.append(f"{nearest[0]}, centre {nearest[1]:.0f} mm away")
    if looked.mean is not None and voxel is not None:
        step = int(looked.mean.steps[voxel])
        entries.append(f"mean {step * looked.mean.scale:.2f}" if step != UNKNOWN else "mean …")
    if voxel is not None:
        entries.append("voxel " + " ".join(map(str, voxel)))
    if looked.grid.oblique:
        entries.append("oblique: nearest voxels")
    return tuple(entries)
