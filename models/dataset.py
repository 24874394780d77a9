"""Labelled windows as arrays: what training and evaluation work on."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamer.decode.scores import BlockEvent
from streamer.errors import ModelError
from streamer.messages import F32, F64, Window

UNLABELLED = -1
SCHEMA = 2
"""Of the files; schema 1 had two classes and no tangent vectors."""


@dataclass(frozen=True)
class Block:
    """A stretch of one state of one subject's run."""

    onset_s: float
    """On the recording's axis, s."""
    duration_s: float
    label: str
    subject: str


@dataclass(frozen=True)
class Inputs:
    """What the windows were made of."""

    channels: tuple[str, ...]
    regions: tuple[str, ...]
    sfreq: float
    """Rate of the cleaned EEG, Hz."""


@dataclass(frozen=True)
class WindowSet:
    """Windows of several subjects. A modality that the data does not have is an array of zero width, never valid.

    Parameters
    ----------
    eeg : ndarray, float32, shape (n, eeg_steps, n_channels * n_bands)
        Log band power, z-scored against the subject's baseline; zeros where masked. Of event-locked windows
        (``models/epochs.py``) amplitude per channel instead of power.
    bold : ndarray, float32, shape (n, bold_steps, n_regions)
        % signal change; zeros where masked.
    age : ndarray, float32, shape (n, 2)
        Of EEG and BOLD, s; 0 where masked.
    valid : ndarray, float32, shape (n, 2)
        1 where the modality is there.
    label : ndarray, int64, shape (n,)
        Index into ``classes`` of the state at the window's end, or ``UNLABELLED``.
    settled : ndarray, bool, shape (n,)
        Whether the state did not change shortly before the window's end: training takes no others.
    subject : ndarray, str, shape (n,)
    time : ndarray, float64, shape (n,)
        End of the window on its recording's axis, s.
    classes : tuple of str
        Two or more names.
    blocks : tuple of Block
    inputs : Inputs
    tangent : ndarray, float32, shape (n, k), optional
        The EEG's covariance as a tangent vector; a row of NaN where a window has none. Of zero width where it is off.

    Raises
    ------
    ValueError
        Arrays differ in length, or there are fewer than two classes.
    """

    eeg: F32
    bold: F32
    age: F32
    valid: F32
    label: NDArray[np.int64]
    settled: NDArray[np.bool_]
    subject: NDArray[np.str_]
    time: F64
    classes: tuple[str, ...]
    blocks: tuple[Block, ...]
    inputs: Inputs
    tangent: F32 = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def __post_init__(self) -> None:
        if not self.tangent.size:
            # zero width follows the length by itself
            object.__setattr__(self, "tangent", np.empty((len(self.label), 0), np.float32))
        lengths = {name: len(getattr(self, name)) for name in _ARRAYS}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"arrays of a window set differ in length: {lengths}")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes {', '.join(self.classes) or '(none)'}: expected two or more, each once")

    def __len__(self) -> int:
        return len(self.label)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the subjects, sorted."""
        return tuple(sorted({str(name) for name in self.subject}))

    def of(self, subjects: Sequence[str]) -> WindowSet:
        """Take some subjects' windows and blocks."""
        found = self.rows(np.isin(self.subject, list(subjects)))
        return replace(found, blocks=tuple(b for b in self.blocks if b.subject in subjects))

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> WindowSet:
        """Take some windows, by a mask or by index; the blocks stay."""
        return replace(self, **{name: getattr(self, name)[chosen] for name in _ARRAYS})

    def trainable(self) -> WindowSet:
        """Take the windows that have a settled label and at least one modality."""
        return self.rows((self.label != UNLABELLED) & self.settled & (self.valid.max(axis=1) > 0))

    def later(self, seconds: float) -> WindowSet:
        """Move windows and blocks on the time axis: several runs of a subject stand behind one another."""
        moved = tuple(replace(block, onset_s=block.onset_s + seconds) for block in self.blocks)
        return replace(self, time=self.time + seconds, blocks=moved)

    def called(self, subject: str) -> WindowSet:
        """Give the windows of one subject another name.

        Raises
        ------
        ModelError
            They are of several subjects.
        """
        if len(self.subjects) > 1:
            raise ModelError(f"{subject}: the windows are of {len(self.subjects)} subjects, expected one to name so")
        blocks = tuple(replace(block, subject=subject) for block in self.blocks)
        return replace(self, subject=np.array([subject] * len(self)), blocks=blocks)

    def save(self, path: Path) -> None:
        """Write as .npz; ``load`` reads it back."""
        facts = {
            "schema": SCHEMA,
            "classes": self.classes,
            "channels": self.inputs.channels,
            "regions": self.inputs.regions,
            "sfreq": self.inputs.sfreq,
            "blocks": [[b.onset_s, b.duration_s, b.label, b.subject] for b in self.blocks],
        }
        np.savez(path, facts=np.array(json.dumps(facts)), **{name: getattr(self, name) for name in _ARRAYS})

    @classmethod
    def load(cls, path: Path) -> WindowSet:
        """Read what ``save`` wrote.

        Raises
        ------
        ModelError
            The file is missing or is not a window set.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                facts = json.loads(str(stored["facts"]))
                schema = facts.get("schema")
                arrays = {name: stored[name] for name in _ARRAYS if schema != 1 or name != "tangent"}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path} is not a set of windows: {error}") from error
        if schema not in {1, SCHEMA}:
            raise ModelError(f"{path}: schema {schema!r} of a set of windows, expected {SCHEMA} or 1")
        return cls(
            classes=tuple(facts["classes"]),
            blocks=tuple(Block(*entry) for entry in facts["blocks"]),
            inputs=Inputs(tuple(facts["channels"]), tuple(facts["regions"]), float(facts["sfreq"])),
            **arrays,
        )


_ARRAYS = ("eeg", "bold", "tangent", "age", "valid", "label", "settled", "subject", "time")


def labelled(
    windows: Sequence[Window],
    blocks: Iterable[BlockEvent],
    t0: float,
    subject: str,
    inputs: Inputs,
    classes: tuple[str, ...] = ("rest", "task"),
    settle_s: float = 1.0,
    n_tangent: int = 0,
    at: F64 | None = None,
) -> WindowSet:
    """Label one run's windows by the state at their end, or at the times given.

    Parameters
    ----------
    windows : sequence of Window
    blocks : iterable of BlockEvent
        States, on the recording's axis.
    t0 : float
        Session time of the recording's first EEG sample, s.
    subject : str
    inputs : Inputs
        Without channels the EEG is left out, without regions the BOLD.
    classes : tuple of str
        Blocks of other labels are passed over.
    settle_s : float
        A window is not settled when the state changed this shortly before its end, s.
    n_tangent : int
        Width of a tangent vector; 0 leaves them out.
    at : ndarray, float64, shape (n,), optional
        What each window's label is of, s on the recording's axis.

    Raises
    ------
    ModelError
        The run gave no window.
    """
    if not windows:
        raise ModelError(f"subject {subject}: the run gave no window")
    known = [Block(b.onset_s, b.duration_s, b.label, subject) for b in blocks if b.label in classes]
    time = np.array([w.end - t0 for w in windows]) if at is None else at
    label = np.full(len(windows), UNLABELLED, np.int64)
    settled = np.zeros(len(windows), np.bool_)
    for block in known:
        since = time - block.onset_s
        inside = (since >= 0) & (since < block.duration_s)
        label[inside] = classes.index(block.label)
        settled |= inside & (since >= settle_s)
    valid = np.array([[w.eeg_valid, w.bold_valid] for w in windows], np.float32)
    valid *= [bool(inputs.channels), bool(inputs.regions)]
    age = np.array([[w.age_eeg, w.age_bold] for w in windows])
    eeg = np.stack([w.eeg for w in windows]).astype(np.float32)
    bold = np.stack([w.bold for w in windows]).astype(np.float32)
    missing = np.full(n_tangent, np.nan, np.float32)
    return WindowSet(
        eeg=eeg if inputs.channels else eeg[:, :, :0],
        bold=bold if inputs.regions else bold[:, :, :0],
        tangent=np.stack([w.tangent if n_tangent and w.tangent.size else missing for w in windows]),
        age=np.where(valid > 0, age, 0).astype(np.float32),
        valid=valid,
        label=label,
        settled=settled,
        subject=np.array([subject] * len(windows)),
        time=time,
        classes=classes,
        blocks=tuple(known),
        inputs=inputs,
    )


def joined(parts: Sequence[WindowSet]) -> WindowSet:
    """Put sets of the same shapes and classes behind one another.

    Raises
    ------
    ModelError
        There is none, or they differ in channels, regions or classes.
    """
    if not parts:
        raise ModelError("no windows to join")
    kinds = {
        (part.eeg.shape[1:], part.bold.shape[1:], part.tangent.shape[1:], part.classes, part.inputs) for part in parts
    }
    if len(kinds) != 1:
        found = "; ".join(sorted(map(str, kinds)))
        raise ModelError(f"sets of windows differ in shape, classes, channels, regions or rate: {found}")
    return WindowSet(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS},
        classes=parts[0].classes,
        blocks=tuple(block for part in parts for block in part.blocks),
        inputs=parts[0].inputs,
    )
