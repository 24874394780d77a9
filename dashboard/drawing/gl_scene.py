"""A head in 3-D as a picture: OpenGL in a window that is never shown.

An OpenGL widget inside a window makes Qt compose all of the window with OpenGL, frame by frame, which software
rendering pays for dearly; and it is lost when it moves to another window. A picture costs only when it changes.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QCoreApplication, QPointF, QSize
from PySide6.QtGui import QImage, QMatrix4x4, QOffscreenSurface, QOpenGLContext, QResizeEvent, QSurfaceFormat, QVector3D
from shiboken6 import isValid

from dashboard.figures.brain_mesh import Mesh
from dashboard.figures.place import Mm

OLDEST = (2, 1)
"""OpenGL that is needed."""
FIELD_OF_VIEW = 30.0
MARGIN = 1.12
"""Around the head, for the letters."""
SAMPLES = 4
"""Per pixel, for smooth edges, where a graphics card draws: on a processor they cost thrice the time."""
SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader", "software", "gdi generic")
_GL_RENDERER = 0x1F01
GLASS = (0.74, 0.82, 0.94, 0.5)
_VERTEX = """
uniform mat4 u_mvp;
uniform mat3 u_normal;
attribute vec4 a_position;
attribute vec3 a_normal;
attribute vec4 a_color;
varying vec4 v_color;
varying vec3 v_normal;
void main() {
    v_normal = u_normal * a_normal;
    v_color = a_color;
    gl_Position = u_mvp * a_position;
}
"""
_HEAD = """
#ifdef GL_ES
precision mediump float;
#endif
varying vec4 v_color;
varying vec3 v_normal;
void main() {
    vec3 n = normalize(v_normal);
    float light = 0.5 + 0.5 * dot(n, normalize(vec3(-0.4, 0.6, 0.7)));
"""
_GLASS = (
    _HEAD
    + """
    float rim = pow(1.0 - abs(n.z), 2.0);
    gl_FragColor = vec4(v_color.rgb * (0.3 + 0.7 * light), v_color.a * (0.36 + 1.1 * rim));
}
"""
)
_SOLID = (
    _HEAD
    + """
    gl_FragColor = vec4(v_color.rgb * (0.45 + 0.6 * light * light), 1.0);
}
"""
)


@dataclass(frozen=True, slots=True)
class Camera:
    """From where the head is looked at."""

    azimuth: float = 150.0
    """Around the axis from feet to head, degrees; 0 from the right, 90 from the front."""
    elevation: float = 25.0
    zoom: float = 1.0

    def turned(self, azimuth: float, elevation: float) -> Camera:
        """Go around the head."""
        turned = (self.azimuth + azimuth) % 360.0
        return Camera(turned, min(max(self.elevation + elevation, -90.0), 90.0), self.zoom)

    def zoomed(self, factor: float) -> Camera:
        """Go nearer (above 1)."""
        return Camera(self.azimuth, self.elevation, min(max(self.zoom * factor, 0.4), 6.0))


def renderer_here() -> str | None:
    """Name what draws OpenGL on this screen; None where nothing usable does."""
    surface, context = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    if not context.create() or not context.makeCurrent(surface):
        return None
    version: Any = context.format().version()
    name = str(context.functions().glGetString(_GL_RENDERER))
    context.doneCurrent()
    return name if version >= OLDEST else None


def open_scene() -> GlScene | str:
    """Make a scene, or tell in a few words why there cannot be one, and what to do."""
    renderer = renderer_here()
    if renderer is None:
        return "this screen has no OpenGL"
    try:
        gl: Any = importlib.import_module("pyqtgraph.opengl")
        names: Any = importlib.import_module("OpenGL.GL")
        shaders: Any = importlib.import_module("pyqtgraph.opengl.shaders")
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] == "OpenGL":
            return "PyOpenGL is not installed: pip install PyOpenGL"
        return f"OpenGL cannot be used: {error}"
    # what PyOpenGL raises where the system's library is broken
    except (AttributeError, OSError, TypeError) as error:
        return f"OpenGL cannot be used: {error}"
    return GlScene(gl, names, shaders, 0 if any(name in renderer.lower() for name in SOFTWARE) else SAMPLES)


class GlScene:
    """A glass head with solid things in it; :func:`open_scene` makes it."""

    def __init__(self, gl: Any, names: Any, shaders: Any, samples: int) -> None:
        self._gl = gl
        self._view: Any = gl.GLViewWidget()
        wanted = QSurfaceFormat(self._view.format())
        wanted.setSamples(samples)
        wanted.setDepthBufferSize(24)
        self._view.setFormat(wanted)
        self._view.setBackgroundColor("#000000")
        self._view.opts["fov"] = FIELD_OF_VIEW

        def program(name: str, fragment: str) -> Any:
            # of this scene alone: a program that pyqtgraph shares is lost with the first window that used it
            return shaders.ShaderProgram(name, [shaders.VertexShader(_VERTEX), shaders.FragmentShader(fragment)])

        glass: dict[Any, Any] = {
            names.GL_DEPTH_TEST: True,
            names.GL_BLEND: True,
            names.GL_CULL_FACE: True,
            "glBlendFunc": (names.GL_SRC_ALPHA, names.GL_ONE_MINUS_SRC_ALPHA),
            "glDepthFunc": (names.GL_LEQUAL,),
        }
        # first its depth alone, where there is glass behind glass
        depth: dict[Any, Any] = {**glass, "glColorMask": (False,) * 4}
        glass["glColorMask"] = (True,) * 4
        clear = program("streamer glass", _GLASS)
        self._solid: Any = gl.GLMeshItem(shader=program("streamer solid", _SOLID), glOptions="opaque")
        self._glass: tuple[Any, ...] = tuple(
            gl.GLMeshItem(shader=clear, glOptions=options, color=GLASS) for options in (depth, glass)
        )
        for order, item in enumerate((self._solid, *self._glass)):
            item.setDepthValue(order)
            item.setVisible(False)
            self._view.addItem(item)
        self._centre = (0.0, 0.0, 0.0)
        self._radius = 100.0
        # an OpenGL window that Python's collector ends while another one draws takes that one's context away
        _OPEN.add(self)
        self._view.destroyed.connect(partial(_OPEN.discard, self))

    def set_head(self, mesh: Mesh | None, *, folded: bool = False) -> None:
        """Show this head, and look at its middle; None shows none.

        Of one that is ``folded`` only the nearest glass is seen, at the cost of drawing it twice.
        """
        depth, glass = self._glass
        self._set(depth, mesh if folded else None, None)
        self._set(glass, mesh, None)
        if mesh is not None and not mesh.empty:
            low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
            x, y, z = ((low + high) / 2).tolist()
            self._centre = (x, y, z)
            self._radius = float(np.linalg.norm(mesh.vertices - (low + high) / 2, axis=1).max())

    def set_solids(self, mesh: Mesh | None, colours: NDArray[np.uint8] | None) -> None:
        """Show this in the head; ``colours`` are RGB by vertex, shape (n, 3)."""
        self._set(self._solid, mesh, colours)

    def _set(self, item: Any, mesh: Mesh | None, colours: NDArray[np.uint8] | None) -> None:
        if mesh is None or mesh.empty:
            item.setVisible(False)
            return
        item.setVisible(True)
        normals = mesh.normals
        data: Any = self._gl.MeshData(vertexes=mesh.vertices, faces=mesh.faces)
        # pyqtgraph's own are found vertex by vertex in Python
        data.vertexNormals = lambda: normals
        if colours is not None:
            opaque = np.full((len(colours), 4), 255, np.uint8)
            opaque[:, :3] = colours
            data.setVertexColors(opaque)
        item.setMeshData(meshdata=data)

    def draw(self, width: int, height: int, camera: Camera) -> QImage:
        """Draw; the picture is empty where OpenGL fails."""
        before, size = self._view.size(), QSize(width, height)
        self._view.resize(size)
        if before != size:
            # a window that is not shown is told of its size only when it is
            QCoreApplication.sendEvent(self._view, QResizeEvent(size, before))
        half = math.tan(math.radians(FIELD_OF_VIEW / 2)) * min(1.0, height / width)
        distance = MARGIN * self._radius / math.sin(math.atan(half)) / camera.zoom
        self._view.setCameraPosition(
            pos=QVector3D(*self._centre), distance=distance, elevation=camera.elevation, azimuth=camera.azimuth
        )
        return self._view.grabFramebuffer()

    def on_picture(self, mm: Mm) -> QPointF:
        """Tell where a place lies on what was drawn last, pixels."""
        size = self._view.size()
        region = (0, 0, size.width(), size.height())
        seen: QMatrix4x4 = self._view.projectionMatrix(region, region) * self._view.viewMatrix()
        at = seen.map(QVector3D(*mm))
        return QPointF((at.x() + 1) / 2 * size.width(), (1 - at.y()) / 2 * size.height())

    def close(self) -> None:
        """Free what the scene holds of OpenGL, as soon as Qt's events are handled."""
        if isValid(self._view):
            self._view.deleteLater()


_OPEN: set[GlScene] = set()
"""Scenes whose windows are not yet ended."""
