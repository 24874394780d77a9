"""The brain in 3-D with what a map shows in it; as flat projections where there is no OpenGL."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QStackedWidget, QToolButton

from dashboard.board import Board
from dashboard.drawing.background import Background
from dashboard.drawing.card import Card, PanelCommand
from dashboard.drawing.colour_bar import HEAT
from dashboard.drawing.gl_scene import Camera, GlScene, open_scene
from dashboard.drawing.theme import look
from dashboard.figures.brain_mesh import Blobs, Mesh, blobs, fitted, head_surface, template_surface
from dashboard.figures.place import Place
from dashboard.figures.planes import AXES, Steps, grey_table, heat_table, nearest_region, projection, shadow
from dashboard.panels.brain_view import BrainView, Scene
from dashboard.panels.plane_view import Dot, Picture, PlaneView
from dashboard.panels.planes import Looked, Staleness, looked_at, map_word, settle, stale_entry, value_text
from streamer.wire.volume_bytes import UNKNOWN

LABELLED = 16
"""Regions that are all named; of more, only the one whose centre is nearest to the place."""
SIDES = {
    "left": Camera(180.0, 0.0),
    "right": Camera(0.0, 0.0),
    "front": Camera(90.0, 0.0),
    "back": Camera(270.0, 0.0),
    "top": Camera(270.0, 90.0),
    "bottom": Camera(90.0, -90.0),
}
SHADOWS_S = 20.0
"""How long the mean image under projections stands: it hardly changes."""
FLAT_BRIGHT = 200
"""Byte that is white under projections: above all, so that they stay dim beneath the map."""


class BrainPanel(Card):
    """The head's surface, and in it what the map that is chosen shows.

    Parameters
    ----------
    place : Place
        What is looked at; shared with the other panels that show it.
    """

    key = "brain"

    def __init__(self, place: Place | None = None) -> None:
        super().__init__("Brain")
        self.place = place if place is not None else Place()
        scene = open_scene()
        self.why_flat = scene if isinstance(scene, str) else ""
        """Why there is no 3-D; empty where there is."""
        self.flat = PlaneView()
        self.flat.chosen.connect(self.place.move)
        self.solid = BrainView(scene) if isinstance(scene, GlScene) else None
        if isinstance(scene, GlScene):
            self.destroyed.connect(scene.close)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.flat)
        if self.solid is not None:
            self._stack.addWidget(self.solid)
            self._stack.setCurrentWidget(self.solid)
        self.flatten = _switch("flat", "projections instead of 3-D: cheaper over a remote desktop")
        self.template = _switch("template", "the MNI template's cortex in place of this head's own surface")
        if self.solid is None:
            self.flatten.setToolTip(f"no 3-D: {self.why_flat}")
        for switch in (self.template, self.flatten):
            switch.setVisible(self.solid is not None)
            self.tool(switch)
        self.hold(self._stack)
        self._head: Background[Mesh] = Background("head surface")
        self._blobs: Background[Blobs] = Background("map surfaces")
        self._template: Background[Mesh] = Background("template surface")
        self._fitted: tuple[Mesh, Mesh] | None = None
        self._stale = Staleness()
        self._old: int | None = None
        self._no_head: object = None
        nothing = np.empty((0, 0), np.int8)
        self._shadows: tuple[object, tuple[Steps, Steps, Steps]] = (None, (nothing, nothing, nothing))
        self._projections = self._shadows
        self._key: object = None

    def commands(self) -> Sequence[PanelCommand]:
        """3-D or flat, template, and sides to look from."""
        if self.solid is None:
            return ()
        sides = [PanelCommand(f"Brain from the {side}", partial(self._look_from, side)) for side in SIDES]
        return (
            PanelCommand("Brain flat or in 3-D", self.flatten.click),
            PanelCommand("MNI template in place of this head", self.template.click),
            *sides,
        )

    def state(self) -> dict[str, Any]:
        """Switches and camera."""
        made: dict[str, Any] = {"flat": self.flatten.isChecked(), "template": self.template.isChecked()}
        if self.solid is not None:
            camera = self.solid.camera
            made["camera"] = [camera.azimuth, camera.elevation, camera.zoom]
        return made

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave."""
        for switch, name in ((self.flatten, "flat"), (self.template, "template")):
            if isinstance(checked := state.get(name), bool):
                switch.setChecked(checked)
        camera: Any = state.get("camera")
        if self.solid is not None and isinstance(camera, list):
            numbers = [float(v) for v in camera if isinstance(v, int | float) and math.isfinite(v)]
            if len(numbers) == 3:
                azimuth, elevation, zoom = numbers
                self.solid.look_from(Camera().turned(azimuth - Camera().azimuth, elevation - Camera().elevation))
                self.solid.look_from(self.solid.camera.zoomed(zoom))

    def refresh(self, board: Board) -> None:
        """Show the volume that had come at the time shown."""
        solid = self.solid if not self.flatten.isChecked() else None
        looked = looked_at(board, self.place)
        if isinstance(looked, str):
            if self._key != (looked, solid is None):
                self._key = (looked, solid is None)
                self._old = None
                self._stack.setCurrentWidget(solid or self.flat)
                (solid or self.flat).display(None, looked)
                self._show_caption([])
            return
        settle(self.place, looked)
        self._old = self._stale(board, looked.message)
        if solid is None:
            key = (looked.message, looked.about, self.place.revision, self._old)
            if key != self._key:
                self._key = key
                self._stack.setCurrentWidget(self.flat)
                self.flat.display(self._picture(looked))
                self._show_caption([word] if (word := map_word(looked)) else [])
            return
        self._wish(board, looked)
        key = (
            (looked.message, looked.about, self.place.revision, self._old, self.template.isChecked()),
            (self._head.of, self._blobs.of, self._template.of),
        )
        if key != self._key:
            self._key = key
            self._stack.setCurrentWidget(solid)
            self._show_scene(solid, looked)

    def _wish(self, board: Board, looked: Looked) -> None:
        message, grid, mean, image = looked.message, looked.grid, looked.mean, looked.image
        which = (message.series, message.index, message.received)
        if mean is not None and self._no_head != which:
            of = (board.session, message.shape, grid.affine.tobytes())
            self._head.ask(of, lambda: head_surface(mean.values(), grid.affine))
            if self._head.of == of and (self._head.result is None or self._head.result.empty):
                # nothing stands out yet: the next volume may show more
                self._no_head = which
                self._head.forget()
        if image is not None:
            scale = self.place.scale(image.unit)
            threshold = max(scale.threshold, image.scale)
            of = (board.session, which, looked.name, threshold)
            self._blobs.ask(of, lambda: blobs(image.values(), grid.affine, threshold))
        if self.template.isChecked():
            self._template.ask("template", template_surface)

    def _show_scene(self, solid: BrainView, looked: Looked) -> None:
        head, words = self._head.result, list[str]()
        if head is None or head.empty:
            waiting = self._head.busy or self._head.of is None
            solid.display(None, "finding the head's surface …" if waiting else "no head stands out in the mean image")
            self._show_caption([])
            return
        surface = head
        if self.template.isChecked():
            if self._template.result is not None:
                surface = self._fit(self._template.result, head)
                words.append("MNI template, not this head (sized to fit)")
            else:
                words.append(self._template.error or "loading the MNI template …")
        image = looked.image
        found = self._blobs.result if image is not None else None
        scale = self.place.scale(image.unit) if image is not None else None
        if word := map_word(looked):
            words.append(word)
        elif image is not None and scale is not None:
            words.append(self._shown_word(looked, found, scale.threshold))
        unit = image.unit if image is not None else ""
        solid.display(Scene(surface, surface is not head, found, scale, unit, self.place.mm, self._dots(looked)))
        self._show_caption(words)

    def _shown_word(self, looked: Looked, found: Blobs | None, threshold: float) -> str:
        image = looked.image
        assert image is not None
        unit = f" {image.unit}" if image.unit == "%" else ""
        coarsely = ", drawn coarsely" if found is not None and found.coarse > 1 else ""
        return f"{looked.name} beyond ±{threshold:g}{unit}{coarsely}"

    def _fit(self, template: Mesh, head: Mesh) -> Mesh:
        if self._fitted is None or self._fitted[0] is not head:
            self._fitted = (head, fitted(template, head))
        return self._fitted[1]

    def _picture(self, looked: Looked) -> Picture:
        grid, image, mean, place = looked.grid, looked.image, looked.mean, self.place
        assert place.mm is not None
        shadows_of = (grid, looked.message.received // SHADOWS_S)
        if self._shadows[0] != shadows_of:
            steps = mean.steps if mean is not None else np.full(grid.shape, UNKNOWN, np.int8)
            self._shadows = (shadows_of, _three(shadow, grid.lattice(steps)))
        projections_of = (looked.message, looked.name)
        if image is not None and self._projections[0] != projections_of:
            self._projections = (projections_of, _three(projection, grid.lattice(image.steps)))
        scale = place.scale(image.unit) if image is not None else None
        voxel = grid.voxel(place.mm)
        readout: tuple[str, ...] = ()
        if image is not None and voxel is not None:
            readout = (f"{looked.name} {value_text(image, voxel)}", "strongest value along each line of sight")
        return Picture(
            grid=grid,
            grey=self._shadows[1],
            greys=grey_table(FLAT_BRIGHT, 1.0),
            mm=place.mm,
            radiological=place.radiological,
            heat=self._projections[1] if image is not None else None,
            heats=heat_table(image.scale, scale, HEAT, 0.95) if image is not None and scale is not None else None,
            scale=scale,
            unit=image.unit if image is not None else "",
            readout=readout,
            dots=self._dots(looked),
        )

    def _dots(self, looked: Looked) -> tuple[Dot, ...]:
        about = looked.about
        if about is None or self.place.mm is None:
            return ()
        placed = [
            Dot(name, (mm[0], mm[1], mm[2]))
            for name, mm in zip(about.regions, about.regions_mm, strict=False)
            if mm is not None and len(mm) == 3 and all(map(math.isfinite, mm))
        ]
        if len(placed) > LABELLED:
            nearest = nearest_region(self.place.mm, about.regions, about.regions_mm)
            name = nearest[0] if nearest is not None else ""
            placed = [Dot(dot.name if dot.name == name else "", dot.mm) for dot in placed]
        return tuple(placed)

    def _look_from(self, side: str) -> None:
        if self.solid is not None:
            self.solid.look_from(SIDES[side])

    def _show_caption(self, words: Sequence[str]) -> None:
        colour = look().faint
        entries = [stale_entry(self._old)] if self._old is not None else []
        entries += [("", colour, word) for word in words]
        if self.why_flat:
            entries.append(("", colour, f"flat: {self.why_flat}"))
        self.legend(entries)


def _three(along: Callable[[Steps, int], Steps], lattice: Steps) -> tuple[Steps, Steps, Steps]:
    x, y, z = (along(lattice, axis) for axis in AXES)
    return x, y, z


def _switch(text: str, tip: str) -> QToolButton:
    made = QToolButton()
    made.setText(text)
    made.setToolTip(tip)
    made.setCheckable(True)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return made
