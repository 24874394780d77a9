"""What is installed, connected and reachable, and what to do about what is not."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from streamer.broker import find_mosquitto
from streamer.clock import LiveClock, stopwatch

PACKAGES = (
    "numpy", "scipy", "numba", "onnxruntime", "pylsl", "aiomqtt", "msgspec", "pydantic", "pydicom", "pynetdicom",
    "python-gdcm", "pylibjpeg-openjpeg", "nibabel", "nilearn", "pyxdf", "watchfiles", "pyqtgraph", "PySide6-Essentials",
)  # fmt: skip
PYTHONS = ((3, 11), (3, 15))
"""First supported and first unsupported version."""
NETWORK_FILESYSTEMS = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "afs",
        "ncpfs",
        "9p",
        "vboxsf",
        "prl_fs",
        "drvfs",
        "glusterfs",
        "ceph",
        "lustre",
    }
)
"""Changes by another machine come without inotify events here, and on FUSE."""
CLOCK_STEP_S = 1e-5
"""A clock that moves in larger steps blurs time stamps of 5 kHz EEG."""
EEG_BYTES_PER_S = 64 * 5000 * 4 + 5000 * 16
FEW_CPUS = 2
INSTALL = "sudo apt-get install -y"
GRAPHICS_LIBRARIES = "libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1"
GRAPHICS_PROBE = """
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6 import QtWidgets
import pyqtgraph
app = QGuiApplication([])
# names that Qt lists even where there is nothing behind them
print(len(set(QFontDatabase.families()) - {"Monospace", "Sans Serif", "Serif"}))
"""

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    status: Status
    """``warn``: something is worse than it could be; ``fail``: a session will not work."""
    found: str
    advice: str = ""
    """What to do; empty when all is well."""


def examine(
    export_directory: Path | None = None,
    broker_url: str | None = None,
    data_directory: Path | None = None,
    rda: tuple[str, int] | None = None,
) -> list[Finding]:
    """Look at this machine.

    Parameters
    ----------
    export_directory : Path or None
        Where the scanner puts its volumes; None leaves these checks out.
    broker_url : str or None
        ``mqtt(s)://host:port``; None or ``embedded`` when the loop starts a broker of its own.
    data_directory : Path or None
        Where sessions are stored; None is the working directory.
    rda : tuple of str and int or None
        Host and port of BrainVision Recorder, when the EEG comes from there.

    Returns
    -------
    list of Finding
        In the order of the signal; nothing is changed on the machine.
    """
    return list(_findings(export_directory, broker_url, data_directory or Path.cwd(), rda))


def _findings(
    export_directory: Path | None, broker_url: str | None, data_directory: Path, rda: tuple[str, int] | None
) -> Iterator[Finding]:
    yield check_python(sys.version_info[:2], platform.python_implementation())
    yield check_packages(sys.version_info[:2])
    yield check_cpus(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    yield check_clock()
    yield check_lsl()
    yield check_lsl_configuration(os.environ.get("LSLAPICFG"))
    if rda is not None:
        yield check_rda(*rda)
    if export_directory is not None:
        yield from check_export_directory(export_directory)
    yield check_onnxruntime()
    yield check_broker_program()
    if broker_url not in {None, "embedded"}:
        yield check_broker(str(broker_url))
    yield from check_graphics()
    yield check_display()
    yield check_disk(data_directory)


def check_python(version: tuple[int, ...], implementation: str) -> Finding:
    """Check that this Python is supported."""
    found = f"{implementation} {'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if not PYTHONS[0] <= version < PYTHONS[1]:
        return Finding("python", "fail", found, "install Python 3.11, 3.12, 3.13 or 3.14, then: make env")
    return Finding("python", "ok", found)


def check_packages(python: tuple[int, ...]) -> Finding:
    """Check that the libraries that the loop stands on are here."""
    versions: dict[str, str] = {}
    missing: list[str] = []
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            missing.append(package)
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    if missing:
        return Finding("packages", "fail", f"missing: {', '.join(missing)}; {found}", "make env")
    if python < (3, 12) and _numbers(versions["PySide6-Essentials"]) >= (6, 12):
        return Finding(
            "packages", "fail", found, 'PySide6 6.12 kills Python 3.11: pip install "PySide6-Essentials<6.12"'
        )
    return Finding("packages", "ok", found)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def check_cpus(count: int) -> Finding:
    """Check that there are processors for both lanes."""
    found = f"{count} for this process"
    if count < FEW_CPUS:
        return Finding("processors", "warn", found, "EEG and BOLD are worked on side by side: give it 2 or more")
    return Finding("processors", "ok", found)


def check_clock() -> Finding:
    """Measure how finely the clocks tell time."""
    steps = {"stopwatch": smallest_step(stopwatch)}
    # where liblsl does not load, its own check says why
    with suppress(ImportError, OSError, RuntimeError):
        steps["LSL"] = smallest_step(LiveClock().now)
    found = ", ".join(f"{name} {step * 1e9:.0f} ns" for name, step in steps.items())
    if max(steps.values()) > CLOCK_STEP_S:
        return Finding("clock", "warn", found, "time stamps are coarse: choose a finer clock source in the system")
    return Finding("clock", "ok", found)


def smallest_step(clock: Callable[[], float], reads: int = 2000) -> float:
    """Tell the smallest step (s) by which ``clock`` moves in ``reads`` reads; inf when it stands still."""
    smallest = float("inf")
    last = clock()
    for _ in range(reads):
        now = clock()
        if now > last:
            smallest = min(smallest, now - last)
        last = now
    return smallest


def check_lsl() -> Finding:
    """Load liblsl."""
    try:
        import pylsl
    except (ImportError, OSError, RuntimeError) as error:
        advice = "pip install pylsl brings liblsl for Linux and macOS; else set PYLSL_LIB to the library"
        return Finding("liblsl", "fail", f"cannot be loaded: {error}", advice)
    number = pylsl.library_version()
    return Finding("liblsl", "ok", f"{number // 100}.{number % 100:02d}, pylsl {metadata.version('pylsl')}")


def check_lsl_configuration(path: str | None) -> Finding:
    """Tell which lsl_api.cfg is in force; ``path`` is the value of LSLAPICFG."""
    if path is None:
        places = (Path("lsl_api.cfg"), Path.home() / "lsl_api" / "lsl_api.cfg", Path("/etc/lsl_api/lsl_api.cfg"))
        for place in places:
            if place.is_file():
                return Finding("lsl configuration", "ok", str(place))
        return Finding("lsl configuration", "ok", "liblsl's own defaults (no LSLAPICFG, no lsl_api.cfg)")
    if not os.access(path, os.R_OK):
        advice = "liblsl falls back to its defaults without a word: correct LSLAPICFG or unset it"
        return Finding("lsl configuration", "fail", f"LSLAPICFG={path}: no such file, or not readable", advice)
    return Finding("lsl configuration", "ok", f"LSLAPICFG={path}")


def check_onnxruntime() -> Finding:
    """Tell what the model can run on."""
    try:
        import onnxruntime
    except ImportError as error:
        return Finding("onnxruntime", "fail", f"cannot be loaded: {error}", "make env")
    providers: list[str] = [str(p).removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers()]
    found = f"{onnxruntime.__version__}: {', '.join(providers)}"
    return Finding("onnxruntime", "ok", f"{found} ({'GPU' if {'CUDA', 'Tensorrt'} & set(providers) else 'processor'})")


def check_broker_program() -> Finding:
    """Look for a broker that the loop can start itself."""
    path = find_mosquitto()
    if path is not None:
        return Finding("embedded broker", "ok", path)
    if util.find_spec("amqtt") is not None:
        advice = f"mosquitto is faster and speaks MQTT 5: {INSTALL} mosquitto (macOS: brew install mosquitto)"
        return Finding("embedded broker", "warn", f"amqtt {metadata.version('amqtt')}, no mosquitto", advice)
    return Finding(
        "embedded broker", "fail", "neither mosquitto nor amqtt", f"{INSTALL} mosquitto, or pip install amqtt"
    )


def check_broker(url: str, timeout_s: float = 3.0) -> Finding:
    """Connect to the configured broker."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"mqtt": 1883, "mqtts": 8883}[parts.scheme]
        if not parts.hostname or parts.scheme not in {"mqtt", "mqtts"}:
            raise ValueError(url)
    except (KeyError, ValueError):
        return Finding(
            "broker", "fail", f"{url!r} is no address", "write mqtt://HOST:PORT, mqtts://HOST:PORT or embedded"
        )
    place = f"{parts.scheme}://{parts.hostname}:{port}"
    try:
        with socket.create_connection((parts.hostname, port), timeout=timeout_s):
            return Finding("broker", "ok", f"{place} answers")
    except OSError as error:
        advice = "is the broker running, is the address right, does a firewall stand between?"
        return Finding("broker", "fail", f"{place}: {error}", advice)


def check_rda(host: str, port: int, timeout_s: float = 3.0) -> Finding:
    """Connect to BrainVision Recorder."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return Finding("BrainVision Recorder", "ok", f"{host}:{port} answers")
    except OSError as error:
        advice = "is Remote Data Access switched on in Recorder, is the address right, does a firewall stand between?"
        return Finding("BrainVision Recorder", "fail", f"{host}:{port}: {error}", advice)


def check_graphics() -> Iterator[Finding]:
    """Let Qt draw, in a child process: a missing library may end it without an exception."""
    environ = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    try:
        child = subprocess.run(
            [sys.executable, "-c", GRAPHICS_PROBE], env=environ, capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        yield Finding("graphics", "warn", "Qt did not start within 60 s", "the loop runs; the dashboard may not")
        return
    if child.returncode:
        said = child.stderr.strip().splitlines()
        found = said[-1] if said else f"Qt ended with {child.returncode}"
        yield Finding("graphics", "warn", found, f"the dashboard needs: {INSTALL} {GRAPHICS_LIBRARIES}")
        return
    yield Finding("graphics", "ok", "Qt draws offscreen")
    fonts = int(child.stdout.split()[-1])
    if not fonts:
        yield Finding("fonts", "warn", "none", f"the dashboard cannot write: {INSTALL} fonts-dejavu-core")


def check_display() -> Finding:
    """Look for a screen to open the dashboard on."""
    if not sys.platform.startswith("linux"):
        return Finding("display", "ok", f"the desktop of {platform.system()}")
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        if os.environ.get(name):
            return Finding("display", "ok", f"{name}={os.environ[name]}")
    advice = "the dashboard makes pictures only: streamer dashboard --offscreen --screenshot FILE"
    return Finding("display", "warn", "neither DISPLAY nor WAYLAND_DISPLAY is set", advice)


def check_export_directory(directory: Path) -> Iterator[Finding]:
    """Check that the scanner's volumes can be read, and tell how new ones are noticed."""
    if not directory.is_dir():
        found = f"{directory} {'is not a directory' if directory.exists() else 'is not there'}"
        yield Finding("export directory", "fail", found, "mount the scanner's share or make the directory")
        return
    if not os.access(directory, os.R_OK | os.X_OK):
        advice = "let the user who runs the loop read and enter it"
        yield Finding("export directory", "fail", f"{directory} is not readable", advice)
        return
    writable = os.access(directory, os.W_OK)
    yield Finding("export directory", "ok", f"{directory}, readable{', writable' if writable else ', not writable'}")
    kind = filesystem_of(directory.resolve(), _mounts())
    if kind is None:
        yield Finding("export watch", "ok", "kind of file system unknown; changes are told by the system, and polled")
    elif kind in NETWORK_FILESYSTEMS or kind.startswith("fuse"):
        advice = "choose polling; expect volumes some 10 ms later than on a local disk"
        yield Finding("export watch", "warn", f"{kind}: inotify is silent here, the directory is polled", advice)
    else:
        yield Finding("export watch", "ok", f"{kind}: inotify")


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(encoding="utf-8")
    except OSError:
        return ""


def filesystem_of(path: Path, mounts: str) -> str | None:
    """Tell the kind of file system that ``path`` lies on, from the text of ``/proc/mounts``; None when unknown."""
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        # spaces and the like are written in octal
        point = Path(fields[1].encode().decode("unicode_escape"))
        depth = len(point.parts)
        # of two mounts on one point the later one counts
        if path.is_relative_to(point) and (best is None or depth >= best[0]):
            best = (depth, fields[2])
    return best[1] if best is not None else None


def check_disk(directory: Path) -> Finding:
    """Check that there is room for a session."""
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    hours = free / (EEG_BYTES_PER_S * 3600)
    found = f"{free / 1e9:.1f} GB free at {place}: {hours:.1f} h of 64 channels at 5 kHz"
    if hours < 1:
        return Finding("disk", "fail", found, "free space, or store sessions elsewhere: session.directory")
    if hours < 4:
        return Finding("disk", "warn", found, "free space before a long session")
    if not os.access(place, os.W_OK):
        return Finding("disk", "fail", f"{place} is not writable", "store sessions elsewhere: session.directory")
    return Finding("disk", "ok", found)
