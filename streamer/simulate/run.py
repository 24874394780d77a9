"""One run of a session: its EEG, its volumes, and what is known about both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.formats.brainvision import FileMarker, write_brainvision
from streamer.messages import F64, Array
from streamer.simulate.amplifier import recorded_blocks
from streamer.simulate.anatomy import Anatomy
from streamer.simulate.bold import volume_spikes
from streamer.simulate.event_tables import TriggerTable
from streamer.simulate.gaps import Gaps, draw_gaps
from streamer.simulate.gradient import GradientArtefact
from streamer.simulate.ledger import RunFaults
from streamer.simulate.montage import channel_infos
from streamer.simulate.physiology import Physiology, make_physiology
from streamer.simulate.plan import RunPlan
from streamer.simulate.settings import SimulationSettings
from streamer.simulate.sidecars import write_sidecars
from streamer.simulate.subject import Subject
from streamer.simulate.timing import RunTiming, run_timing, volume_schedule
from streamer.simulate.truth import write_truth
from streamer.simulate.volumes import Submit, VolumeRun

_SYNC_S = 2.0
_UID_ROOT = "1.2.826.0.1.3680043.10.1337"


@dataclass(frozen=True)
class RunMaker:
    """Makes the runs of a session."""

    settings: SimulationSettings
    subject: Subject
    anatomy: Anatomy
    artefact_seed: int
    table: TriggerTable | None
    r_peaks: F64 | None
    submit: Submit
    """Has volumes written."""
    done: Callable[[float], None]
    """Takes how many s of EEG were just written."""

    def __call__(self, folder: Path, plan: RunPlan, rng: np.random.Generator, number: int) -> None:
        """Write run ``number`` into a new folder."""
        settings, subject = self.settings, self.subject
        (folder / "dicom").mkdir(parents=True)
        for_body, for_timing, for_export = rng.spawn(3)
        faults = RunFaults(plan.faults, settings.seed, number)
        body = make_physiology(settings, subject, plan, for_body, faults, self.r_peaks)
        schedule = volume_schedule(settings, plan, self.table)
        timing = run_timing(settings, subject, plan, schedule, faults, for_timing, for_export)
        gaps = draw_gaps(faults, settings.sfreq, timing.triggers)
        spikes = volume_spikes(faults, timing.onsets, settings.grid[2], settings.tr_s)
        motion = body.motion[body.at(timing.onsets + settings.tr_s / 2)]
        self._submit(folder, plan, number, body, timing, motion, spikes)
        # the scanner and the cap are the same in both runs, and so is the artefact
        scanner = np.random.default_rng(self.artefact_seed)
        artefact = GradientArtefact(settings, subject, timing.artefact, timing.artefact_stops, motion, scanner)
        n_samples = round(plan.duration_s * settings.sfreq)
        write_brainvision(
            folder / "eeg.vhdr",
            settings.sfreq,
            channel_infos(settings.n_channels),
            gaps.cut(self._blocks(body, artefact, n_samples)),
            _markers(settings, plan, timing, gaps, n_samples),
            settings.resolution_v,
        )
        write_sidecars(folder, plan, timing)
        write_truth(folder / "truth.npz", settings, subject, body, timing, artefact, gaps, spikes)
        _enter_clock(faults, plan, len(timing.onsets))
        faults.write(folder / "ledger.json", plan.name, "none" if settings.null else settings.effect_in)

    def _submit(
        self,
        folder: Path,
        plan: RunPlan,
        number: int,
        body: Physiology,
        timing: RunTiming,
        motion: F64,
        spikes: F64,
    ) -> None:
        settings = self.settings
        slice_times = slice_order(settings)
        self.submit(
            VolumeRun(
                folder=folder / "dicom",
                anatomy=self.anatomy,
                signals=body.bold.total[body.at(timing.onsets[:, None] + np.array(slice_times))],
                spikes=spikes,
                motion=motion,
                noise_sd=900.0 / settings.tsnr,
                tr_s=settings.tr_s,
                slice_times=slice_times,
                series=timing.series,
                index=timing.index,
                copies=timing.copies,
                scanner_s=timing.scanner_s,
                series_uid=_uid(settings, plan.name),
                seed=(settings.seed, 1 + number),
            )
        )

    def _blocks(self, body: Physiology, artefact: GradientArtefact, n_samples: int) -> Iterator[Array]:
        settings = self.settings
        at = 0
        for block in recorded_blocks(
            body.recorded(self.subject), settings.factor, settings.sfreq, n_samples, artefact, settings.resolution_v
        ):
            body.leads.hold(block, at)
            at += len(block)
            yield block
            self.done(len(block) / settings.sfreq)


def slice_order(settings: SimulationSettings) -> tuple[float, ...]:
    """Time of each slice after the volume's onset, s: interleaved, as scanners do, bands at once."""
    shots = settings.shots
    first = 0 if shots % 2 else 1
    order = [*range(first, shots, 2), *range(1 - first, shots, 2)]
    place = {slot: n for n, slot in enumerate(order)}
    return tuple(place[z % shots] * settings.tr_s / shots for z in range(settings.grid[2]))


def _markers(
    settings: SimulationSettings, plan: RunPlan, timing: RunTiming, gaps: Gaps, n_samples: int
) -> list[FileMarker]:
    events = [("Response", label, sample) for sample, label in timing.pulses]
    # as the computer that shows the task sends them
    begun = [(block.label, round(block.onset_s * settings.sfreq)) for block in plan.blocks]
    events += [("Stimulus", label, sample) for label, sample in begun if sample < n_samples]
    if settings.clocks_agree:
        # the amplifier tells every two seconds that it hears the scanner's clock
        step = round(_SYNC_S * settings.sfreq)
        events += [("SyncStatus", "Sync On", sample) for sample in range(step // 3, n_samples, step)]
    placed = [(kind, label, gaps.place(sample)) for kind, label, sample in events]
    return [
        *gaps.markers(settings.sfreq),
        *(FileMarker(kind, label, at) for kind, label, at in placed if at is not None),
    ]


def _enter_clock(faults: RunFaults, plan: RunPlan, n_volumes: int) -> None:
    wanted = faults.settings
    if wanted.clock_ppm:
        faults.enter("clock_drift", 0.0, plan.duration_s, ppm=wanted.clock_ppm)
    if wanted.jitter_us:
        faults.enter("gradient_jitter", 0.0, plan.duration_s, sd_us=wanted.jitter_us, volumes=n_volumes)


def _uid(settings: SimulationSettings, run: str) -> str:
    # a fault changes nothing but itself, and a table's folder nothing at all
    facts = settings.model_dump_json(exclude={"faults", "triggers", "r_peaks"})
    digest = hashlib.sha256(f"{facts}/{run}".encode()).digest()
    return f"{_UID_ROOT}.{int.from_bytes(digest[:6], 'big')}"
