"""A session with planted truth: one participant, a calibration run and a task run, as the scanner room leaves them.

The forward model is a sum, `x(t) = brain + blinks + pulse + motion + line and pump + noise + gradient`, and every part
of it is written down beside the recording.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from streamer.errors import UsageError
from streamer.formats.brainvision import FileMarker, write_brainvision
from streamer.messages import F64, Array
from streamer.simulate.amplifier import recorded_blocks
from streamer.simulate.anatomy import Anatomy, draw_anatomy, write_regions
from streamer.simulate.gradient import GradientArtefact
from streamer.simulate.montage import channel_infos
from streamer.simulate.physiology import Physiology, make_physiology
from streamer.simulate.plan import RunPlan, plan_runs
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.sidecars import RunTiming, write_session_toml, write_sidecars
from streamer.simulate.subject import Subject, draw_subject
from streamer.simulate.truth import write_truth
from streamer.simulate.volumes import Submit, VolumeRun, volume_writer

__all__ = ["SimulationSettings", "simulate_session"]

TRIGGER = "R128"
_SYNC_S = 2.0
_UID_ROOT = "1.2.826.0.1.3680043.10.1337"
# a volume takes about as long to make as so many seconds of EEG
_VOLUME_COST_S = 0.5


def simulate_session(
    out: Path,
    settings: SimulationSettings,
    progress: Callable[[float], None] | None = None,
    *,
    workers: int | None = None,
) -> None:
    """Write a session.

    Parameters
    ----------
    out : Path
        New or empty folder.
    settings : SimulationSettings
    progress : callable or None
        Takes the part that is done, 0 to 1.
    workers : int or None
        Processes that make volumes while this one makes the EEG; by default one per processor, two at most. The files
        do not depend on it.

    Raises
    ------
    UsageError
        ``out`` is not empty, or the settings do not fit together.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there and not empty: nothing is overwritten, expected a new folder")
    for_subject, for_plan, for_head, for_scanner, *for_runs = np.random.default_rng(settings.seed).spawn(6)
    subject = draw_subject(settings, for_subject)
    plans = plan_runs(settings, for_plan)
    try:
        anatomy = draw_anatomy(settings, for_head)
    except ValueError as error:
        raise UsageError(str(error)) from error
    artefact_seed = int(for_scanner.integers(2**63))
    out.mkdir(parents=True, exist_ok=True)
    write_regions(anatomy, out)
    write_session_toml(out / "session.toml", settings, subject, [plan.name for plan in plans])
    n_volumes = sum(plan.n_volumes for plan in plans)
    tally = _Tally(n_volumes * _VOLUME_COST_S + sum(plan.duration_s for plan in plans), progress)
    processes = min(2, os.cpu_count() or 1) if workers is None else workers
    with volume_writer(n_volumes, processes, lambda count: tally.add(count * _VOLUME_COST_S)) as submit:
        for number, (plan, rng) in enumerate(zip(plans, for_runs, strict=True)):
            _write_run(out / plan.name, settings, subject, anatomy, plan, rng, (artefact_seed, number), submit, tally)


class _Tally:
    def __init__(self, total: float, progress: Callable[[float], None] | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0.0

    def add(self, amount: float) -> None:
        self._done += amount
        if self._progress is not None:
            self._progress(min(1.0, self._done / self._total))


def _write_run(
    folder: Path,
    settings: SimulationSettings,
    subject: Subject,
    anatomy: Anatomy,
    plan: RunPlan,
    rng: np.random.Generator,
    scanner: tuple[int, int],
    submit: Submit,
    tally: _Tally,
) -> None:
    (folder / "dicom").mkdir(parents=True)
    for_body, for_timing, for_export = rng.spawn(3)
    body = make_physiology(settings, subject, plan, for_body)
    timing = _timing(settings, subject, plan, for_timing, for_export)
    slice_times = slice_order(settings)
    motion = body.motion[_at(body, timing.onsets + settings.tr_s / 2)]
    submit(
        VolumeRun(
            folder=folder / "dicom",
            anatomy=anatomy,
            signals=body.bold.total[_at(body, timing.onsets[:, None] + np.array(slice_times))],
            motion=motion,
            noise_sd=900.0 / settings.tsnr,
            tr_s=settings.tr_s,
            slice_times=slice_times,
            series_uid=_uid(settings, plan.name),
            seed=(settings.seed, 1 + scanner[1]),
        )
    )
    # the scanner and the cap are the same in both runs, and so is the artefact
    artefact = GradientArtefact(settings, subject, timing.artefact, motion, np.random.default_rng(scanner[0]))
    n_samples = round(plan.duration_s * settings.sfreq)
    blocks = recorded_blocks(
        body.recorded(subject), settings.factor, settings.sfreq, n_samples, artefact, settings.resolution_v
    )

    def counted() -> Iterator[Array]:
        for block in blocks:
            yield block
            tally.add(len(block) / settings.sfreq)

    write_brainvision(
        folder / "eeg.vhdr",
        settings.sfreq,
        channel_infos(settings.n_channels),
        counted(),
        _markers(settings, timing, n_samples),
        settings.resolution_v,
    )
    write_sidecars(folder, settings, plan, timing)
    write_truth(folder / "truth.npz", settings, subject, body, timing, artefact)


def _timing(
    settings: SimulationSettings,
    subject: Subject,
    plan: RunPlan,
    for_timing: np.random.Generator,
    for_export: np.random.Generator,
) -> RunTiming:
    n = plan.n_volumes
    # from the scanner's seconds to the amplifier's
    rate = 1.0 + settings.clock_ppm * 1e-6
    onsets = np.asarray((plan.start_s + np.arange(n + 1) * settings.tr_s) * rate, np.float64)
    triggers = np.rint(onsets[:n] * settings.sfreq).astype(np.int64)
    artefact = onsets * settings.sfreq
    if settings.clock_ppm == 0 and settings.jitter_us == 0:
        # one clock: the pulse and the gradients come with the same sample every time
        artefact = np.concatenate([triggers, [round(onsets[n] * settings.sfreq)]]).astype(np.float64)
    artefact[:n] += settings.jitter_us * 1e-6 * settings.sfreq * for_timing.standard_normal(n)
    delay = subject.recon_s + for_export.lognormal(np.log(0.15), 0.6, n)
    # one export after the other: a late file holds up those behind it
    known = np.maximum.accumulate(onsets[1:] + delay + 1e-3 * np.arange(n)) - 1e-3 * np.arange(n)
    known = np.maximum(known, onsets[1:] + subject.recon_s)
    return RunTiming(onsets[:n], triggers, artefact, known)


def slice_order(settings: SimulationSettings) -> tuple[float, ...]:
    """Time of each slice after the volume's onset, s: interleaved, as scanners do, bands at once."""
    shots = settings.grid[2] // settings.multiband
    first = 0 if shots % 2 else 1
    order = [*range(first, shots, 2), *range(1 - first, shots, 2)]
    place = {slot: n for n, slot in enumerate(order)}
    return tuple(place[z % shots] * settings.tr_s / shots for z in range(settings.grid[2]))


def _at(body: Physiology, times: F64) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.clip(np.rint(times * body.rate_hz), 0, len(body.state) - 1).astype(np.int64)


def _markers(settings: SimulationSettings, timing: RunTiming, n_samples: int) -> list[FileMarker]:
    markers = [FileMarker("Response", TRIGGER, int(sample)) for sample in timing.triggers]
    if settings.clock_ppm == 0:
        # the amplifier tells every two seconds that it hears the scanner's clock
        step = round(_SYNC_S * settings.sfreq)
        markers += [FileMarker("SyncStatus", "Sync On", sample) for sample in range(step // 3, n_samples, step)]
    return markers


def _uid(settings: SimulationSettings, run: str) -> str:
    digest = hashlib.sha256(f"{settings.model_dump_json()}/{run}".encode()).digest()
    return f"{_UID_ROOT}.{int.from_bytes(digest[:6], 'big')}"
