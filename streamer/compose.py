"""From settings to parts: model, calibration, cores, header. Live and replay both start here."""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import numpy as np

from streamer import __version__, wire
from streamer.bold_core import BoldSetup
from streamer.bold_inputs import make_setup, with_task
from streamer.calibration import SESSION_CARD, Calibration, load_calibration, session_card_problems
from streamer.clean.eeg.lane import output_rate
from streamer.clean.eeg.ocular import OcularFit
from streamer.config import Config
from streamer.decode.card_file import LoadedCard, dump_card, fit_problems, load_card, sfreq_problems
from streamer.decode.load_model import load_model
from streamer.decode.model import Model
from streamer.decode.score_card import NAME
from streamer.decode.sham import BlindFeedback
from streamer.emit.raw_preview import RawPreview
from streamer.engine import EegCore
from streamer.errors import ModelError, UsageError
from streamer.formats.montage import electrode_positions
from streamer.formats.nifti import LabelImage
from streamer.messages import ChannelInfo, SessionHeader
from streamer.probe import Probe
from streamer.session_score import session_score, session_tangent
from streamer.sham_inputs import load_sham

PACKAGES = ("numpy", "scipy", "numba", "pylsl", "onnxruntime", "aiomqtt", "nibabel", "pydicom", "nilearn", "pyqtgraph")

CALIBRATION = "calibration"
"""Name of a session's own copy of its calibration, in its folder."""


@dataclass(frozen=True)
class Parts:
    """All that is known before the first sample."""

    config: Config
    card: LoadedCard | None
    """None without a model, and for a score as long as the channels are not known."""
    model: Model | None
    calibration: Calibration | None
    bold: BoldSetup
    sham: BlindFeedback | None = None
    """Made anew for every session: it knows how far into the run it is."""

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of the regions, in order."""
        return self.bold.regions


def default_card() -> Path:
    """Find the card of the network that ships, trained on simulated sessions (in the package ``models.zoo``)."""
    # found by name at run time: the engine does not import models
    return Path(str(files("models.zoo"))) / "default.toml"


def compose(
    config: Config,
    labels: LabelImage | None = None,
    calibration: Calibration | None = None,
    *,
    has_eeg: bool = True,
    has_bold: bool = True,
) -> Parts:
    """Load what the settings name.

    Parameters
    ----------
    config : Config
    labels : LabelImage, optional
        Regions that a recording brings; the configuration's own come first.
    calibration : Calibration, optional
        Taken when the configuration names none.
    has_eeg, has_bold : bool
        What the session or recording brings.

    Raises
    ------
    ModelError
        The card or its graph is missing or altered.
    RecordingError, FormatError
        The calibration, or an image or table that the settings name, cannot be read.
    UsageError
        The regions are not approved.
    """
    folder = config.model.calibration
    if folder is not None:
        calibration = load_calibration(folder)
    path = _card_path(config, folder)
    card = None if path is None else load_card(path)
    name = card.card.name if card is not None else NAME if config.model.card in {"auto", "score"} else ""
    config = with_task(_with_thresholds(config, calibration, name))
    config = _with_vetoes(config, has_eeg=has_eeg and config.eeg.enabled, has_bold=has_bold and config.bold.enabled)
    sham = load_sham(config.sham, config.decision)
    parts = Parts(config, None, None, calibration, make_setup(config, labels, calibration), sham)
    return parts if card is None else _with_card(parts, card)


def _card_path(config: Config, calibration: Path | None) -> Path | None:
    """Find the card's file; None where there is no model, or a score whose card is made of the settings."""
    match config.model.card:
        case "none" | "score":
            return None
        case "auto":
            path = None if calibration is None else calibration / SESSION_CARD
            return path if path is not None and path.exists() else None
        case "simulated":
            return default_card()
        case named:
            return Path(named)


def _with_card(parts: Parts, card: LoadedCard) -> Parts:
    provider = parts.config.model.provider
    model = load_model(card, None if provider == "auto" else (provider,))
    model.warm_up()
    return replace(parts, card=card, model=model)


def with_score(parts: Parts, sfreq: float | None, channels: tuple[ChannelInfo, ...]) -> Parts:
    """Make the model of a session that has none trained, now that its channels are known.

    Parameters
    ----------
    parts : Parts
    sfreq : float or None
        Rate of the incoming EEG, Hz; None for a session without EEG.
    channels : tuple of ChannelInfo
        Of the incoming EEG.

    Raises
    ------
    ModelError
        The score's settings name a band, channel or region that is not there.
    """
    config = parts.config
    if parts.model is not None or config.model.card not in {"auto", "score"}:
        return parts
    used = () if sfreq is None else tuple(c.name for c in channels if c.kind == "eeg")
    rate = 0.0 if sfreq is None else output_rate(config.clean.eeg, sfreq)
    regions = parts.regions if config.bold.enabled else ()
    card = session_score(config, used, regions, rate, parts.calibration)
    sha256 = hashlib.sha256(dump_card(card).encode()).hexdigest()
    return _with_card(parts, LoadedCard(card, sha256, Path()))


def _with_thresholds(config: Config, calibration: Calibration | None, card: str) -> Config:
    # thresholds that a calibration measured take the place of the configured ones, if they are of what is fed back now
    if calibration is None or calibration.threshold_on is None or calibration.threshold_off is None:
        return config
    if calibration.threshold_of not in {"", card} or config.decision.source.feature:
        return config
    update = {"threshold_on": calibration.threshold_on, "threshold_off": calibration.threshold_off}
    return config.model_copy(update={"decision": config.decision.model_copy(update=update)})


def _with_vetoes(config: Config, *, has_eeg: bool, has_bold: bool) -> Config:
    # in a session of one modality the other's absence is no fault, and without EEG there is nothing to be in step with
    needless = {"NO_EEG", "UNSYNCED"} if not has_eeg else {"NO_BOLD"} if not has_bold else set[str]()
    veto = tuple(name for name in config.decision.veto if name not in needless)
    return config.model_copy(update={"decision": config.decision.model_copy(update={"veto": veto})})


def make_eeg_core(
    parts: Parts,
    sfreq: float | None,
    channels: tuple[ChannelInfo, ...],
    probe: Probe | None = None,
    eyes: OcularFit | None = None,
) -> EegCore:
    """Make the EEG core for a stream; ``sfreq`` None makes one for a session without EEG.

    ``eyes`` is the eye correction while there is no calibration yet.

    Raises
    ------
    ModelError
        The card or the calibration does not fit the session; every difference is listed.
    """
    has_eeg = sfreq is not None
    if sfreq is None:
        card = None if parts.card is None else parts.card.card
        calibrated = () if parts.calibration is None else parts.calibration.channels
        names = card.eeg.channels if card is not None and card.eeg is not None else calibrated or ("none",)
        sfreq, channels = 250.0, tuple(ChannelInfo(name, "eeg") for name in names)
    used = tuple(c.name for c in channels if c.kind == "eeg")
    if not used:
        raise UsageError(f"the EEG stream has {len(channels)} channels, none of kind EEG")
    problems: list[str] = []
    if parts.card is not None:
        card = parts.card.card
        tangent = session_tangent(parts.config, used)
        problems += fit_problems(card, used, parts.regions, parts.config.model_digest(), tangent=tangent)
        problems += session_card_problems(card, parts.calibration)
    if parts.calibration is not None:
        problems += parts.calibration.fit_problems(used, parts.regions, parts.config.preprocessing_digest())
        eyes = parts.calibration.ocular
        if parts.calibration.learned and parts.calibration.extra != parts.config.extra_digest():
            problems.append("the calibration's features were learned with other settings under [extra]")
    if has_eeg:
        problems += _ocular_problems(parts.config.clean.eeg.ocular.method, eyes, channels)
    if problems:
        listed = "\n".join(f"  - {p}" for p in problems)
        advice = 'model.card = "none" runs without a model'
        raise ModelError(f"model or calibration does not fit this session ({advice}):\n{listed}")
    own = parts.calibration
    core = EegCore(
        parts.config.engine(),
        sfreq,
        channels,
        parts.regions,
        parts.model,
        baseline=None if own is None else own.baseline,
        ocular=eyes,
        probe=probe,
        region_means=None if own is None else own.region_means,
        learned=None if own is None else own.learned,
        sham=parts.sham,
    )
    if parts.card is not None and (wrong := sfreq_problems(parts.card.card, core.lane.sfreq_out)):
        raise ModelError(f"model does not fit this session: {'; '.join(wrong)}")
    return core


def _ocular_problems(method: str, eyes: OcularFit | None, channels: tuple[ChannelInfo, ...]) -> list[str]:
    if eyes is None:
        if method == "none":
            return []
        return [f"clean.eeg.ocular.method is {method}: expected a calibration made with it (`streamer calibrate RUN`)"]
    lost = set(eyes.inputs) - {c.name for c in channels if c.kind in {"eeg", "eog"}}
    return [f"the eye correction needs channels {', '.join(sorted(lost))}: not in this stream"] if lost else []


def versions() -> dict[str, str]:
    """Versions of Python, of the streamer and of what it stands on."""
    found = {"python": platform.python_version(), "streamer": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def make_about(parts: Parts, session: str, core: EegCore) -> wire.About:
    """Say what a session consists of, for those who listen."""
    card, decision = parts.card, parts.config.decision
    names = [c.name for c in core.lane.channels]
    places = [p.tolist() if np.isfinite(p).all() else None for p in electrode_positions(names)]
    return wire.About(
        session=session,
        eeg_sfreq=core.lane.sfreq_out,
        channels=[wire.ChannelEntry(c.name, c.kind, p) for c, p in zip(core.lane.channels, places, strict=True)],
        regions=list(parts.regions),
        classes=list(card.card.classes) if card is not None else [],
        model=f"{card.card.name}@{card.sha256[:12]}" if card is not None else "none",
        tick_hz=parts.config.tick_hz,
        thresholds={"on": decision.threshold_on, "off": decision.threshold_off},
        versions=versions(),
        pulse=parts.config.clean.eeg.pulse.mode,
        eeg_delay_s=core.lane.delay_s,
        eeg_hold_s=core.lane.hold_s,
        regions_mm=[None if c is None else list(c) for c in parts.bold.region_centres()],
    )


def make_raw_preview(parts: Parts, core: EegCore, channels: tuple[ChannelInfo, ...]) -> RawPreview | None:
    """Make what thins out the EEG as it came, for looking at; None for a session without EEG.

    Parameters
    ----------
    parts : Parts
    core : EegCore
        Takes every chunk before the preview does.
    channels : tuple of ChannelInfo
        Of the incoming EEG.
    """
    if not channels:
        return None
    lane = core.lane
    sfreq = lane.factor * lane.sfreq_out
    span_s = parts.config.mqtt.preview_s
    return RawPreview(core.timeline.samples, sfreq, lane.factor, channels, lane.delay_s, span_s)


def make_header(parts: Parts, session: str, sfreq: float | None, channels: tuple[ChannelInfo, ...]) -> SessionHeader:
    """Write down what a session is run with."""
    return SessionHeader(
        session=session,
        config=parts.config.plain(),
        config_sha256=parts.config.sha256(),
        card_sha256=parts.card.sha256 if parts.card is not None else "",
        versions=versions(),
        processor=f"{platform.machine()} {sys.platform}",
        eeg_sfreq=sfreq if sfreq is not None else 0.0,
        channels=channels,
        regions=parts.regions,
        calibration=parts.calibration.plain if parts.calibration is not None else {},
    )
