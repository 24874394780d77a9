"""Regions from a localiser run: motion-corrected, fitted with the GLM of the live lane, thresholded, clustered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import generate_binary_structure, label

from streamer.acquire.recorded_bold import BoldPart
from streamer.acquire.recording_tables import read_events
from streamer.acquire.recordings import open_recording
from streamer.clean.bold.design_matrix import DesignMatrix, DesignSettings, conditions_of
from streamer.clean.bold.displacement import motion_parameters
from streamer.clean.bold.gaussian import convolve, gaussian_kernels
from streamer.clean.bold.glm import fit_run
from streamer.clean.bold.registration import Registration
from streamer.clean.bold.spline import sample, spline_coefficients
from streamer.errors import RecordingError, UsageError
from streamer.messages import F32, F64, Array
from streamer.region_set.target import Target, bold_target

CLUSTER = "cluster"
"""What regions are called where no area says better."""
_MAX_JUMP_MM = 30.0


@dataclass(frozen=True)
class LocaliserSettings:
    """What is asked of a localiser."""

    contrast: str
    """``face``, ``face - house``, ``2*face - house - place``."""
    threshold: float | None = 3.1
    """Student's t that a voxel must reach; None where ``top`` says how many voxels."""
    top: int | None = None
    """So many of the best voxels of each area instead."""
    clusters: int = 2
    """So many of the largest clusters of each area become regions."""
    min_voxels: int = 10
    """Of a cluster."""
    fwhm_mm: float = 5.0
    """Smoothing before the fit; 0: none."""


@dataclass(frozen=True)
class Found:
    """What a localiser run says."""

    target: Target
    """Its own reference volume."""
    t: F32
    """Student's t of the contrast, shape (x, y, z); NaN outside of the brain."""
    freedom: float
    """Degrees of freedom of t."""
    notes: tuple[str, ...]


def parse_contrast(text: str, labels: Sequence[str]) -> dict[str, float]:
    """Take ``A``, ``A - B`` or ``2*A - B - C`` apart; labels may hold blanks and dashes without blanks around them.

    Raises
    ------
    UsageError
        It is none of these, or names what is not among ``labels``.
    """
    weights: dict[str, float] = {}
    for part in re.split(r"\s+(?=[+-]\s)", text.strip()):
        found = re.fullmatch(r"([+-]?)\s*(?:(\d+\.?\d*|\.\d+)\s*\*\s*)?(.+)", part.strip())
        if found is None:
            raise UsageError(f"contrast {text!r}: expected LABEL, LABEL - LABEL or 2*LABEL - LABEL - LABEL")
        sign, factor, name = found[1], float(found[2] or 1.0), found[3].strip()
        if name not in labels:
            raise UsageError(f"contrast {text!r}: no events {name!r}; there are {', '.join(labels) or 'none at all'}")
        weights[name] = weights.get(name, 0.0) + (-factor if sign == "-" else factor)
    if not any(weights.values()):
        raise UsageError(f"contrast {text!r}: all weights are 0")
    return weights


def fit_localiser(
    path: Path, events: Path | None, settings: LocaliserSettings, progress: Callable[[float], None]
) -> Found:
    """Fit a localiser run.

    Parameters
    ----------
    path : Path
        A recording with volumes.
    events : Path or None
        A table of events (BIDS: onset and duration in s after the first volume, trial_type); None takes the
        recording's own.
    settings : LocaliserSettings
    progress : callable
        Takes the fraction done.

    Raises
    ------
    RecordingError
        No volumes, or they cannot be read.
    UsageError
        No events, or none of the contrast's names.
    """
    recording = open_recording(path)
    bold = recording.bold
    if bold is None or not bold.n_volumes:
        raise RecordingError(f"{path}: no fMRI volumes in it, expected a localiser run")
    blocks = recording.events if events is None else read_events(events)
    # a table beside the volumes counts from the first of them, a recording's from its first EEG sample
    zero = bold.onset_s(0) if events is None else 0.0
    if not blocks:
        raise UsageError(f"{path}: no events in it: give a table with --events (onset, duration, trial_type)")
    labels = sorted({block.label for block in blocks})
    weights = parse_contrast(settings.contrast, labels)
    target = bold_target(path.name, bold, lambda part: progress(0.2 * part))
    rows_at = _times(bold)
    values, motion, lost = _corrected(bold, target, settings.fwhm_mm, lambda part: progress(0.2 + 0.7 * part))
    design = DesignMatrix(
        DesignSettings(
            run_s=float(rows_at[-1] + bold.tr),
            tissue=(),
            conditions=conditions_of(blocks, zero),
        )
    )
    rows = np.array([design.row(float(at), moved) for at, moved in zip(rows_at, motion, strict=True)])
    unsteady = np.arange(bold.n_volumes) < target.first_steady
    glm = fit_run(values, rows, design.names, design.stages, censored=unsteady | lost)
    t = np.full(target.shape, np.nan, np.float32)
    t[target.brain] = glm.t_map(weights)
    progress(1.0)
    if not np.isfinite(t[target.brain]).any():
        raise UsageError(
            f"{path}: the contrast {settings.contrast!r} cannot be estimated from {int((~(unsteady | lost)).sum())} "
            f"volumes with {len(design.names)} columns: expected more volumes, or events within the run"
        )
    notes = [*recording.problems, *bold.problems]
    if lost.any():
        notes.append(f"{int(lost.sum())} of {bold.n_volumes} localiser volumes could not be registered: left out")
    return Found(target, t, glm.freedom, tuple(notes))


def _times(bold: BoldPart) -> F64:
    first = bold.onset_s(0)
    return np.array([bold.onset_s(k) - first + bold.tr / 2 for k in range(bold.n_volumes)])


def _corrected(
    bold: BoldPart, target: Target, fwhm_mm: float, progress: Callable[[float], None]
) -> tuple[F32, F64, Array]:
    """Brain voxels where the head is, shape (n, n_voxels); motion, shape (n, 6); what could not be registered."""
    registration = Registration(target.volume, target.affine)
    world = registration.world(np.nonzero(target.brain))
    values = np.empty((bold.n_volumes, world.shape[1]), np.float32)
    motion = np.zeros((bold.n_volumes, 6))
    lost = np.zeros(bold.n_volumes, bool)
    place = np.eye(4)
    for k in range(bold.n_volumes):
        volume = bold.volume(k)
        coefficients = spline_coefficients(volume.data)
        moved = registration(coefficients, volume.affine, place)
        lost[k] = not moved.converged or np.abs(moved.transform[:3, 3]).max() > _MAX_JUMP_MM
        place = place if lost[k] else moved.transform
        motion[k] = motion_parameters(place)
        if fwhm_mm > 0:
            coefficients = convolve(coefficients, gaussian_kernels(fwhm_mm, volume.affine), mirror=True)
        values[k] = sample(coefficients, registration.voxels(place, world, volume.affine))
        progress((k + 1) / bold.n_volumes)
    return values, motion, lost


def clusters(
    t: F32, areas: Mapping[str, Array], settings: LocaliserSettings
) -> tuple[Array, tuple[str, ...], tuple[str, ...]]:
    """Turn a map into regions: in each area, the largest clusters of the voxels that are chosen.

    Parameters
    ----------
    t : array, shape (x, y, z)
    areas : mapping of str to array of bool, shape (x, y, z)
        Where to look, by name.
    settings : LocaliserSettings

    Returns
    -------
    labels : array of int16, shape (x, y, z)
        i + 1 in region ``names[i]``.
    names : tuple of str
    notes : tuple of str
        Areas in which nothing was found.

    Raises
    ------
    UsageError
        Nothing was found anywhere; the largest t is told.
    """
    labels = np.zeros(t.shape, np.int16)
    names: list[str] = []
    notes: list[str] = []
    for area, where in areas.items():
        inside = where & np.isfinite(t)
        best = f"{float(t[inside].max()):.2f}" if inside.any() else "none, no voxel of the brain lies there"
        chosen = _chosen(t, inside, settings)
        found: Any = label(chosen, generate_binary_structure(3, 3))
        pieces = np.asarray(found[0])
        sizes = np.bincount(pieces.ravel())[1:]
        largest = [k for k in np.argsort(-sizes, kind="stable")[: settings.clusters] if sizes[k] >= settings.min_voxels]
        if not largest:
            size = f"the largest cluster has {int(sizes.max())}" if sizes.size else "no voxel reaches it"
            notes.append(f"{area}: no cluster of {settings.min_voxels} voxels ({size}; largest t {best})")
        for rank, k in enumerate(largest, start=1):
            names.append(area if len(largest) == 1 and area != CLUSTER else f"{area} {rank}")
            labels[(pieces == k + 1) & (labels == 0)] = len(names)
    if not names:
        how = f"the best {settings.top} voxels" if settings.top else f"t of {settings.threshold:g} or more"
        raise UsageError(f"nothing is found with {how}: {'; '.join(notes)}")
    return labels, tuple(names), tuple(notes)


def _chosen(t: F32, inside: Array, settings: LocaliserSettings) -> Array:
    if settings.top is None:
        assert settings.threshold is not None
        return inside & (np.nan_to_num(t, nan=-np.inf) >= settings.threshold)
    values = t[inside]
    if not values.size:
        return np.zeros(t.shape, bool)
    # the best voxels of an area that does not respond are none
    best = [k for k in np.argsort(-values, kind="stable")[: settings.top] if values[k] > 0]
    chosen = np.zeros(len(values), bool)
    chosen[best] = True
    out = np.zeros(t.shape, bool)
    out[inside] = chosen
    return out
