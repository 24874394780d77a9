"""Can a window, or at least a picture, be made here? Loads Qt only when asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module

from streamer.errors import StreamerError

LIBRARIES = "libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1"
WINDOW_LIBRARIES = "libxcb-cursor0 libxkbcommon-x11-0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0"
FONTS = "fonts-dejavu-core"
GENERIC_FONTS = {"Monospace", "Sans Serif", "Serif"}
"""Names that Qt lists even where there is nothing behind them."""
INSTALL = "sudo apt-get install -y"

PROBE = "from PySide6.QtGui import QGuiApplication; QGuiApplication([])"


class DisplayError(StreamerError):
    """No window and no picture can be made on this machine as it is."""

    exit_code = 3


def use_platform(*, offscreen: bool, picture: bool, environ: Mapping[str, str] = os.environ) -> str:
    """Choose between a real window (``""``) and the offscreen platform (``"offscreen"``).

    Parameters
    ----------
    offscreen : bool
        No window is wanted.
    picture : bool
        A screenshot is wanted, which needs no window.
    environ : mapping
        The environment.

    Raises
    ------
    DisplayError
        A window is wanted, but there is no display.
    """
    if offscreen or environ.get("QT_QPA_PLATFORM") == "offscreen":
        return "offscreen"
    if environ.get("QT_QPA_PLATFORM") or not sys.platform.startswith("linux"):
        return ""
    if environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        return ""
    if picture:
        return "offscreen"
    raise DisplayError(
        "no display: neither DISPLAY nor WAYLAND_DISPLAY is set; "
        "run it on a desktop, or make a picture: --offscreen --screenshot FILE"
    )


def load_graphics() -> None:
    """Load the graphics libraries, or say which line installs them.

    Raises
    ------
    DisplayError
        A library is missing.
    """
    try:
        for module in ("PySide6.QtGui", "PySide6.QtWidgets", "pyqtgraph"):
            import_module(module)
    except ImportError as error:
        raise DisplayError(f"graphics libraries are missing ({error}): {INSTALL} {LIBRARIES}") from error


def try_window() -> None:
    """Open a display in a child process: where that fails, Qt ends the process without an exception.

    Raises
    ------
    DisplayError
        The display cannot be opened.
    """
    try:
        child = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired as error:
        raise DisplayError(
            "the display does not answer within 30 s: --offscreen --screenshot FILE needs none"
        ) from error
    if child.returncode:
        said = [line for line in child.stderr.splitlines() if line.strip()]
        reason = said[0].removeprefix("qt.qpa.xcb: ") if said else f"Qt ended with {child.returncode}"
        raise DisplayError(
            f"no window can be opened ({reason}): is DISPLAY right? Libraries that a window needs: "
            f"{INSTALL} {LIBRARIES} {WINDOW_LIBRARIES}"
        )


def require_fonts() -> None:
    """Check that text can be drawn; needs a QGuiApplication.

    Raises
    ------
    DisplayError
        There is no font.
    """
    from PySide6.QtGui import QFontDatabase

    if not set(QFontDatabase.families()) - GENERIC_FONTS:
        raise DisplayError(f"no fonts are installed, so no text can be drawn: {INSTALL} {FONTS}")
