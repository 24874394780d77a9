"""Which files lie in the export directory, and which of them are new, at a cost that does not grow with their number.

A folder is listed when its time of change is another one than before. Network shares tell that time late or coarsely:
so it is listed besides whenever twenty times as long has passed as listing it took. Of many folders those are looked at
each time in which something new came last; the others have their turn as time allows.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from streamer.errors import FormatError, IncompleteFile

Signature = tuple[int, int, int]
"""Size in bytes, time of change in ns, inode: what changes when a file does."""

MAX_FILE_BYTES = 512 * 2**20
ABSENT: Signature = (-1, -1, -1)
_TEMPORARY = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", "~")
_LISTING_SHARE = 20.0
_START_S = 0.5
_ROUND_S = 0.005
_N_HOT = 4


class OutsideDirectory(FormatError):
    """A link that leads out of the export directory."""


@dataclass(slots=True)
class _Folder:
    level: int
    names: set[str] = field(default_factory=set[str])
    identity: tuple[int, int] = (-1, -1)
    changed_ns: int = -1
    listed: float = 0.0
    took: float = 0.0


class ExportFiles:
    """The files of a directory and of its subfolders.

    Parameters
    ----------
    directory : Path
        May be absent.
    fits : callable
        Whether a file is to be looked at, by its name.
    levels : int
        Levels of subfolders; 0: the directory alone.
    now : callable
        Gives the time in s; what is listed when depends on it.

    Attributes
    ----------
    unreadable : list of (str, OSError)
        Subfolders that could not be listed; for the caller to tell and to empty.
    """

    def __init__(self, directory: Path, fits: Callable[[str], bool], levels: int, now: Callable[[], float]) -> None:
        self.root = os.path.abspath(directory)  # noqa: PTH100 - events bear this very prefix; links stay in it
        self.unreadable: list[tuple[str, OSError]] = []
        self._fits = fits
        self._levels = levels
        self._now = now
        self._folders: dict[str, _Folder] = {self.root: _Folder(0)}
        self._turn: deque[str] = deque()
        self._hot: deque[str] = deque(maxlen=_N_HOT)

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode of the directory when it was last looked at."""
        return self._folders[self.root].identity

    def existing(self) -> dict[str, Signature | int]:
        """Take what is there as known.

        Returns
        -------
        files : dict of str to Signature or int
            For each file that fits its signature; where there was no time for it, the time in ns after which it
            must have been changed to count as new.
        """
        files: dict[str, Signature | int] = {}
        end = self._now() + _START_S
        for path in self._list_new(self.root):
            if self._now() <= end:
                try:
                    files[path] = signature(os.stat(path))  # noqa: PTH116 - thousands of them
                except OSError:
                    files[path] = 0
            else:
                files[path] = self._folders[os.path.dirname(path)].changed_ns  # noqa: PTH120
        return files

    def new(self) -> list[str]:
        """Paths of files that fit and were not there before. Raises OSError when the directory cannot be read."""
        found = self._list_new(self.root)
        looked = {self.root}
        for path in tuple(self._hot):
            if path not in looked and path in self._folders:
                looked.add(path)
                found += self._list_new(path)
        end = self._now() + _ROUND_S
        for _ in range(len(self._turn)):
            path = self._turn.popleft()
            if path not in self._folders:
                continue
            self._turn.append(path)
            if path not in looked:
                found += self._list_new(path)
            if self._now() > end:
                break
        return found

    def holds(self, path: str) -> bool:
        """Whether a path that was heard of is one of those to look at."""
        folder, name = os.path.split(path)
        if not self._fits(name) or is_hidden(name) or not (folder + os.sep).startswith(self.root + os.sep):
            return False
        parts = Path(os.path.relpath(folder, self.root)).parts
        return len(parts) <= self._levels and not any(is_hidden(part) for part in parts)

    def status(self, path: str) -> os.stat_result | None:
        """Status of a regular file, through a link that stays inside; None for everything else.

        Raises
        ------
        OutsideDirectory
            A link leads out of the directory.
        OSError
            The status cannot be had.
        """
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                target, root = os.path.realpath(path), os.path.realpath(self.root)
                if not target.startswith(root + os.sep):
                    raise OutsideDirectory("a link that leads out of the export directory; left out")
                status = os.stat(target)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def _list_new(self, path: str) -> list[str]:
        found: list[str] = []
        waiting = [path]
        while waiting:
            folder_path = waiting.pop()
            try:
                names, folders = self._list(folder_path)
            except OSError as error:
                if folder_path == self.root:
                    raise
                if not isinstance(error, FileNotFoundError | NotADirectoryError):
                    self.unreadable.append((folder_path, error))
                del self._folders[folder_path]
                continue
            found += names
            waiting += folders
            if folder_path != self.root and (names or folders):
                if folder_path in self._hot:
                    self._hot.remove(folder_path)
                self._hot.append(folder_path)
        return found

    def _list(self, path: str) -> tuple[list[str], list[str]]:
        # files and folders that were not there before
        folder = self._folders[path]
        status = os.stat(path)  # noqa: PTH116
        identity = (status.st_dev, status.st_ino)
        if identity != folder.identity:
            folder.names, folder.changed_ns, folder.identity = set(), -1, identity
        started = self._now()
        rested = started - folder.listed
        if status.st_mtime_ns == folder.changed_ns and rested < _LISTING_SHARE * folder.took:
            return [], []
        names = set(os.listdir(path))  # noqa: PTH208 - names are all that is asked for
        fresh = names - folder.names
        folder.names, folder.changed_ns, folder.listed = names, status.st_mtime_ns, started
        files: list[str] = []
        folders: list[str] = []
        for name in fresh:
            if is_hidden(name):
                continue
            whole = os.path.join(path, name)  # noqa: PTH118
            if folder.level < self._levels and _is_folder(whole):
                if whole not in self._folders:
                    self._folders[whole] = _Folder(folder.level + 1)
                    self._turn.append(whole)
                folders.append(whole)
            elif self._fits(name):
                files.append(whole)
        folder.took = self._now() - started
        return files, folders


def is_hidden(name: str) -> bool:
    """Whether a name is one that programs give to files which are not to be read, or not yet."""
    lower = name.lower()
    return lower.startswith((".", "~")) or lower.endswith(_TEMPORARY)


def signature(status: os.stat_result) -> Signature:
    """Sum up a status."""
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def read_whole(path: str, name: str) -> bytes:
    """Read a regular file that nobody changes meanwhile; never waits, whatever the path has become.

    Raises
    ------
    IncompleteFile
        It is empty, or changed while it was read.
    FormatError
        It is larger than any volume.
    OSError
        It cannot be read.
    """
    with open_regular(path, name) as stream:
        before = os.fstat(stream.fileno())
        if before.st_size == 0:
            raise IncompleteFile(f"{name}: empty")
        if before.st_size > MAX_FILE_BYTES:
            raise FormatError(f"{name}: {before.st_size} bytes, expected at most {MAX_FILE_BYTES}")
        raw = stream.read()
        if signature(os.fstat(stream.fileno())) != signature(before):
            raise IncompleteFile(f"{name}: changed while it was read")
    return raw


@contextmanager
def open_regular(path: str, name: str) -> Generator[BinaryIO]:
    """Open a regular file for reading; never waits, whatever the path has become. Raises FormatError, OSError."""
    # links were resolved and looked at before; a FIFO would wait for a writer
    handle = os.open(os.path.realpath(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FormatError(f"{name}: no regular file")
        yield stream


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
