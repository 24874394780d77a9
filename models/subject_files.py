"""Files of windows: sessions are simulated or replayed side by side, and what an earlier run made is taken again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from models.dataset import WindowSet
from models.epochs import read_epochs
from models.replayed import Reading
from models.subjects import read_subject, simulate_subject
from models.workers import Workers
from streamer import __version__
from streamer.config import Config
from streamer.errors import UsageError

Tell = Callable[[str, float], None]
"""Takes what is being done and the fraction done."""


@dataclass(frozen=True)
class Source:
    """Where one subject's windows come from."""

    name: str
    """In the window set; ``SUBJECT/SESSION`` for one of several sessions."""
    path: Path | None = None
    """A recording or session, or windows (.npz); None for a simulated subject."""
    seed: int = 0
    """Of a simulated subject."""
    named: bool = True
    """Whether ``name`` holds, whatever the windows call their subject."""

    @property
    def ready(self) -> bool:
        """Whether these are windows already."""
        return self.path is not None and self.path.suffix == ".npz"


def sources(datasets: Sequence[str], seeds: Sequence[int]) -> tuple[Source, ...]:
    """Name the sources: ``NAME=PATH``, or a path whose own name is taken.

    Raises
    ------
    UsageError
        A path does not exist, or a name stands twice.
    """
    found = [Source(f"simulated-{seed}", None, seed) for seed in seeds]
    for text in datasets:
        name, _, path = text.rpartition("=")
        place = Path(path).absolute()
        if not place.exists():
            message = f"dataset {path} does not exist: expected a recording, a session's folder or windows (.npz)"
            raise UsageError(message)
        own = place.stem if place.suffix == ".npz" else place.name
        found.append(Source(name or own, place, named=bool(name)))
    names = [source.name for source in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"a dataset named {', '.join(doubled)} stands twice: NAME=PATH gives it another name")
    return tuple(found)


def window_files(
    wanted: Sequence[Source],
    config: Config,
    work: Path,
    pool: Callable[[], AbstractContextManager[Workers]],
    tell: Tell,
    reading: Reading | None = None,
) -> dict[str, Path]:
    """Make the windows of every source.

    Parameters
    ----------
    wanted : sequence of Source
    config : Config
        Settings that sessions are replayed with.
    work : Path
        Folder for the files; those that an earlier run made of the same source with the same settings are kept.
    pool : callable
        Opens the workers that simulate and replay; only asked where there is something to do.
    tell : callable
    reading : Reading, optional
        How recordings become labelled windows.

    Returns
    -------
    files : dict
        Name to file, in the order of the sources.
    """
    work.mkdir(parents=True, exist_ok=True)
    files = {s.name: s.path if s.ready and s.path is not None else work / _file_name(s.name) for s in wanted}
    keys = {s.name: _key(s, config, reading) for s in wanted if not s.ready}
    missing = [s for s in wanted if not s.ready and not _fits(files[s.name], keys[s.name])]
    if missing:
        title = f"simulating and replaying {len(missing)} subject(s)"
        tell(title, 0.0)
        ready: list[int] = []

        def keep(place: int, data: bytes) -> None:
            name = missing[place].name
            _write(files[name], data, keys[name])
            ready.append(place)
            tell(title, len(ready) / len(missing))

        with pool() as opened:
            opened.map(windows_of, [(source, config, reading) for source in missing], keep)
    return files


def windows_of(source: Source, config: Config, reading: Reading | None = None) -> bytes:
    """Simulate or replay one subject; gives the bytes of a window file, so that no folder needs to be shared."""
    with TemporaryDirectory(prefix="streamer-subject-") as scratch:
        session = source.path
        if session is None:
            session = Path(scratch) / "session"
            simulate_subject(session, source.seed)
        file = Path(scratch) / "windows.npz"
        if reading is not None and reading.windows == "events":
            read_epochs(session, config, source.name, reading.labels).save(file)
        else:
            read_subject(session, config, source.name, reading).save(file)
        return file.read_bytes()


def load_windows(wanted: Sequence[Source], files: dict[str, Path]) -> list[WindowSet]:
    """Read window files; windows know whose they are, and only a name that was given replaces it.

    Raises
    ------
    ModelError
        A file is missing or is not a window set.
    UsageError
        Two hold the same subject.
    """
    found: list[WindowSet] = []
    for source in wanted:
        part = WindowSet.load(files[source.name])
        found.append(part.called(source.name) if source.named else part)
    names = [name for part in found for name in part.subjects]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"{', '.join(doubled)}: in two datasets; NAME=PATH gives one of them another name")
    return found


def _file_name(name: str) -> str:
    return f"{name.replace('/', '_')}.npz"


def _key(source: Source, config: Config, reading: Reading | None) -> str:
    facts: list[object] = [__version__, source.name, source.seed, config.sha256(), repr(reading or Reading())]
    if source.path is not None:
        inside = sorted(source.path.rglob("*")) if source.path.is_dir() else [source.path]
        facts.append([(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in inside if p.is_file()])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _fits(file: Path, key: str) -> bool:
    note = file.with_suffix(".key")
    return file.exists() and note.exists() and note.read_text(encoding="utf-8") == key


def _write(file: Path, data: bytes, key: str) -> None:
    part, note = file.with_suffix(".part"), file.with_suffix(".key")
    # a key never stands beside windows that are not its own
    note.unlink(missing_ok=True)
    part.write_bytes(data)
    part.replace(file)
    note.write_text(key, encoding="utf-8")
