"""Every filter and correction that was in force: what it does, whether it looks ahead, and by how much it delays.

Delays are those that the stages declare. COBIDAS MEEG asks for them: doi:10.1038/s41593-020-00709-0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from streamer.clean.eeg.decimate import Decimator
from streamer.clean.eeg.lane import output_rate
from streamer.clean.eeg.lane_settings import DELAY_HZ
from streamer.clean.eeg.line import LineFilter
from streamer.config import Config
from streamer.decode.features import BandPower
from streamer.filters import bandpass, highpass, sos_delay_s

Causality = Literal["causal", "held back", "fixed matrix", "no filter"]
_HOLDS: Mapping[str, str] = {"balanced": "balanced_hold_s", "best": "best_hold_s"}


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the processing."""

    lane: Literal["EEG", "BOLD", "decision"]
    name: str
    what: str
    causality: Causality
    delay_s: float | None = None
    """s; None where a delay has no meaning or is not known."""
    rate_hz: float | None = None
    """Rate of the samples that the delay is counted in, Hz."""
    note: str = ""

    @property
    def delay_samples(self) -> float | None:
        """The delay in samples of its own rate."""
        return None if self.delay_s is None or self.rate_hz is None else self.delay_s * self.rate_hz


def processing_steps(
    config: Config,
    eeg_sfreq: float | None,
    tr_s: float | None = None,
    features: Mapping[str, float] | None = None,
) -> list[Step]:
    """List what was done to the data, in the order of the signal.

    Parameters
    ----------
    config : Config
    eeg_sfreq : float or None
        Rate of the incoming EEG, Hz; None without EEG or where it is not known: delays that depend on it are None.
    tr_s : float, optional
        Repetition time, s.
    features : mapping, optional
        Delay that each feature beside band power declares, s.
    """
    steps: list[Step] = []
    if config.eeg.enabled:
        steps += _eeg(config, eeg_sfreq)
    if config.bold.enabled:
        steps += _bold(config, tr_s)
    source = config.decision.source.feature
    for name, delay_s in sorted((features or {}).items()):
        what = "fed back" if name == source else "given out beside the model's inputs"
        steps.append(Step("decision", f"feature {name}", what, "causal", delay_s, None, "as it declares"))
    return steps + list(_decision(config))


def eeg_delay_s(steps: list[Step]) -> float | None:
    """Sum of the delays of the EEG lane's filters, that cleaned EEG's times are corrected for, s."""
    known = [step.delay_s for step in steps if step.lane == "EEG" and step.note == _CORRECTED]
    return None if None in known or not known else sum(each for each in known if each is not None)


_CORRECTED = f"at {DELAY_HZ:g} Hz; the times of cleaned EEG are corrected for it"


_NOT_CORRECTED = "at the middle of the band; times are not corrected for it"


def _eeg(config: Config, sfreq: float | None) -> Iterator[Step]:
    s = config.clean.eeg
    out = None if sfreq is None else output_rate(s, sfreq)
    g = s.gradient
    high_delay = None if sfreq is None else sos_delay_s(highpass(g.highpass_hz, sfreq), DELAY_HZ, sfreq)
    yield Step(
        "EEG", "high-pass", f"Butterworth, order 2, {g.highpass_hz:g} Hz", "causal", high_delay, sfreq, _CORRECTED
    )
    if g.enabled:
        text = f"template of the newest {g.n_max} volumes at most ({g.window}), subtracted from {g.n_min} on"
        yield Step("EEG", "gradient artefact", text, "held back" if g.hold_s else "causal", g.hold_s, sfreq)
    else:
        yield Step("EEG", "gradient artefact", "not corrected", "no filter")
    if s.residual.obs != "off":
        text = f"{s.residual.obs} principal components of past residuals above {s.residual.obs_lowest_hz:g} Hz"
        yield Step("EEG", "gradient residual (OBS)", text, "causal", 0.0, sfreq)
    if s.residual.anc:
        text = f"adaptive noise cancellation above {s.residual.anc_highpass_hz:g} Hz, step {s.residual.anc_mu:g}"
        yield Step("EEG", "gradient residual (ANC)", text, "causal", 0.0, sfreq)
    if sfreq is not None and out is not None:
        factor = round(sfreq / out)
        decimator = Decimator(sfreq, factor, 1)
        text = f"minimum-phase FIR of {len(decimator.taps)} taps, {sfreq:g} to {out:g} Hz"
        if factor == 1:
            text = "none: the rate stays as it came"
        yield Step("EEG", "decimation", text, "causal", decimator.delay_s(DELAY_HZ), sfreq, _CORRECTED)
    p = s.pulse
    hold = float(getattr(p, _HOLDS[p.mode])) if p.mode in _HOLDS else 0.0
    text = {
        "off": "not corrected",
        "reference": f"regression on reference channels, memory {p.reference_memory_s:g} s",
    }.get(p.mode, f"mode {p.mode}: mean and at most {p.n_components} components of the newest {p.n_beats} beats")
    yield Step("EEG", "pulse artefact", text, "held back" if hold else "causal", hold, out)
    low, high = s.band_hz
    delay = None if out is None else sos_delay_s(bandpass(low, high, out), DELAY_HZ, out)
    text = f"Butterworth, order 2 at each edge, {low:g} to {high:g} Hz"
    yield Step("EEG", "band-pass", text, "causal", delay, out, _CORRECTED)
    if s.line.mode != "off" and (out is None or s.line.lines(out / 2)):
        lines = ", ".join(f"{line:g}" for line in s.line.lines(float("inf") if out is None else out / 2))
        delay = None if out is None else LineFilter(s.line, out, 1).delay_s(DELAY_HZ)
        if lines:
            text = f"{s.line.mode}, {lines} Hz, {s.line.width_hz:g} Hz wide"
            yield Step("EEG", "mains and pump", text, "causal", delay, out, _CORRECTED)
    eyes = {"none": "not corrected", "eog": "regression on EOG channels", "ica": "independent components left out"}
    text = eyes[s.ocular.method] + ("" if s.ocular.method == "none" else ", fitted on the calibration run")
    yield Step("EEG", "eyes", text, "no filter" if s.ocular.method == "none" else "fixed matrix", 0.0, out)
    text = s.reference.kind + (f" ({', '.join(s.reference.linked)})" if s.reference.kind == "linked" else "")
    yield Step("EEG", "reference", f"{text}; bad channels are left out", "no filter", 0.0, out)
    c = s.channels
    text = f"judged on blocks of {c.block_s:g} s, good again after {c.good_s:g} s; masked, not made up"
    yield Step("EEG", "bad channels", text, "causal", 0.0, out)
    delays: Mapping[str, float] = {} if out is None else BandPower(config.features, out, 1).delays_s
    for name, (low, high) in config.features.bands.items():
        text = f"Butterworth, order 2 at each edge, {low:g} to {high:g} Hz; mean square of {config.features.step_s:g} s"
        yield Step("EEG", f"band power {name}", text, "causal", delays.get(name), out, _NOT_CORRECTED)


def _bold(config: Config, tr_s: float | None) -> Iterator[Step]:
    s, r = config.clean.bold, config.clean.regions
    rate = None if not tr_s else 1.0 / tr_s
    half = None if not tr_s else tr_s / 2
    yield Step("BOLD", "acquisition", "a volume speaks of its middle and is known after its end", "causal", half, rate,
               "and the export: see the measured age")  # fmt: skip
    if s.slice_timing == "linear":
        text = "slices brought to the beginning of the volume, linear between two volumes"
        yield Step("BOLD", "slice timing", text, "causal", half, rate)
    text = "rigid, to the reference volume; " + ("resampled" if s.correct_motion else "measured only, not corrected")
    yield Step(
        "BOLD", "motion", f"{text}; flagged above {s.fd_limit_mm:g} mm framewise displacement", "causal", 0.0, rate
    )
    if s.smooth_mm:
        yield Step("BOLD", "smoothing", f"Gaussian, {s.smooth_mm:g} mm full width at half maximum", "causal", 0.0, rate)
    text = f"region means where at least {s.min_coverage:.0%} of a region lies in the volume"
    yield Step("BOLD", "regions", text, "causal", 0.0, rate)
    if r.method == "baseline":
        drift = f"followed with a time constant of {r.drift_tau_s:g} s" if r.drift_tau_s else "fixed"
        text = f"% of a level that is {drift}; without a calibration from the first {r.baseline_s:g} s"
    else:
        text = f"recursive regression of drift, motion and tissue{' and RETROICOR' if r.nuisance.retroicor else ''}"
    yield Step("BOLD", "signal change", text, "causal", 0.0, rate)
    if r.despike.mode != "off":
        late = 1.5 * tr_s if tr_s and r.despike.mode == "kalman" else 0.0
        yield Step(
            "BOLD", "despiking", f"mode {r.despike.mode}, threshold {r.despike.threshold:g} SD", "causal", late, rate
        )


def _decision(config: Config) -> Iterator[Step]:
    w, d, rate = config.windows, config.decision, config.tick_hz
    eeg_s, bold_s = w.eeg_steps * w.eeg_step_s, w.bold_steps * w.bold_grid_s
    yield Step("decision", "window", f"{eeg_s:g} s of EEG, {bold_s:g} s of BOLD, pairing {w.pairing}", "causal",
               0.5 * w.eeg_step_s, rate, "half of the newest step of EEG")  # fmt: skip
    yield Step("decision", "tick", f"{rate:g} decisions per second", "causal", 0.5 / rate, rate, "on average")
    if d.smoothing_s:
        text = f"exponential, time constant {d.smoothing_s:g} s"
        yield Step("decision", "smoothing", text, "causal", d.smoothing_s, rate, "of slow changes")
    if d.mode == "intermittent":
        text = f"mean of {d.block_s:g} s, shown for {d.show_s:g} s"
        yield Step("decision", "block", text, "causal", 0.5 * d.block_s, rate, "from the middle of the block")
    if d.mode == "trigger":
        yield Step("decision", "dwell", f"above the threshold for {d.dwell_s:g} s", "causal", d.dwell_s, rate)


def plain(step: Step) -> dict[str, Any]:
    """Give a step as JSON values."""
    return {
        "lane": step.lane,
        "name": step.name,
        "what": step.what,
        "causality": step.causality,
        "delay_ms": None if step.delay_s is None else round(step.delay_s * 1e3, 3),
        "delay_samples": None if step.delay_samples is None else round(step.delay_samples, 2),
        "rate_hz": step.rate_hz,
        "note": step.note,
    }
