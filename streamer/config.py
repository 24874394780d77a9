"""SESSION.toml → frozen settings.

Every problem is reported at once, with what was given and what was expected; unknown keys are refused. Relative paths
count from the file that names them. ``config_sha256`` identifies the settings in every log.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from streamer.acquire.dicom_push import DicomPushSettings
from streamer.acquire.lsl import EegStreamSettings, MarkerStreamSettings
from streamer.acquire.rda import RdaSettings
from streamer.acquire.scanner_export import ExportSettings
from streamer.align.eeg_time import EegTimelineSettings
from streamer.align.triggers import TriggerSettings
from streamer.align.windows import WindowSettings
from streamer.clean.bold.dynamics.dynamics_set import BoldDynamicsSettings
from streamer.clean.bold.lane import BoldLaneSettings
from streamer.clean.bold.signal.region_signal import RegionSignalSettings
from streamer.clean.eeg.lane_settings import EegLaneSettings
from streamer.contracts import Settings
from streamer.decode.bold_estimate import BoldEstimateSettings
from streamer.decode.card_file import preprocessing_digest
from streamer.decode.decision_settings import DecisionSettings
from streamer.decode.event_sources import EventSourcesSettings
from streamer.decode.feature_set import FeatureSetSettings
from streamer.decode.features import BandPowerSettings
from streamer.decode.recentre import RecentreSettings
from streamer.decode.relevance import RelevanceSettings
from streamer.decode.score_spec import ScoreSpec
from streamer.emit.gate import GateSettings
from streamer.emit.mqtt import MqttSettings
from streamer.emit.osc import OscSettings
from streamer.emit.ttl import TtlSettings
from streamer.engine_settings import EngineSettings
from streamer.errors import ConfigError, UsageError
from streamer.sham_inputs import ShamSection, sham_problems

SCHEMA = 1
CARDS = frozenset({"auto", "score", "simulated", "none"})
"""Cards that are named, not found by a path."""


class SessionSection(Settings):
    """The session and where it is stored."""

    name: str = Field(default="", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$|^$")
    """Letters, digits, dot, dash, underscore; empty: the date and time.
    It becomes a folder and an MQTT topic: no names of people."""
    directory: Path = Path("sessions")
    """Every session gets a folder of its own in here."""


class EegSection(Settings):
    """Where EEG and markers come from."""

    enabled: bool = True
    """False runs on BOLD alone."""
    source: Literal["lsl", "rda"] = "lsl"
    """Where the EEG comes from: a stream on LSL, or BrainVision Recorder's Remote Data Access."""
    stream: EegStreamSettings = EegStreamSettings()
    """The EEG stream on LSL."""
    markers: MarkerStreamSettings = MarkerStreamSettings()
    """The marker stream on LSL, with the scanner's volume triggers."""
    rda: RdaSettings = RdaSettings()
    """BrainVision Recorder; its markers come with its EEG, so no marker stream is opened."""

    @classmethod
    def of_rig(cls, name: str) -> EegSection:
        """Take the streams that ``streamer rig --stream-name NAME`` sends."""
        return cls(stream=EegStreamSettings(name=name), markers=MarkerStreamSettings(name=f"{name}-markers"))


class BoldSection(Settings):
    """Where volumes come from, and the regions."""

    enabled: bool = True
    """False runs on EEG alone."""
    directory: Path = Path("export")
    """The scanner's export directory."""
    export: ExportSettings = ExportSettings()
    """How the directory is watched."""
    regions: Path | None = None
    """A label image (NIfTI) in the space of the volumes; none: one region, the whole brain."""
    region_names: Path | None = None
    """A table (columns index, name) for the label image."""
    reference: Path | None = None
    """The volume (NIfTI) that motion is measured against; none: the calibration's, or the one that the region set was
    made on, or the run's first."""
    tissue: Path | None = None
    """An image (NIfTI) in the space of the volumes: 1 white matter, 2 cerebrospinal fluid; none: no tissue signals."""
    push: DicomPushSettings = DicomPushSettings()
    """DICOM objects that the scanner sends, beside the directory."""
    events: Path | None = None
    """The task's blocks as BIDS has them (columns onset, duration, trial_type; s after the run's first volume): the
    conditions of maps and of the task that region signals keep, beside those that the settings spell out."""
    first_volume: int = Field(default=0, ge=-1000, le=1000)
    """Acquisition number of the volume of the first trigger: above 0 when dummy scans come without a trigger, below it
    when they have triggers but are not exported."""
    latency_s: float = Field(default=0.6, ge=0)
    """From the end of a volume to its arrival, s: used where a recording does not tell."""
    process_s: float = Field(default=0.1, ge=0)
    """From a volume's arrival to its cleaned frame, s: assumed in the replay of foreign recordings, never measured."""


class CleanSection(Settings):
    """Alignment and cleaning."""

    timeline: EegTimelineSettings = EegTimelineSettings()
    """Gaps and time stamps of the EEG."""
    triggers: TriggerSettings = TriggerSettings()
    """Volume triggers."""
    eeg: EegLaneSettings = EegLaneSettings()
    """The EEG lane."""
    bold: BoldLaneSettings = BoldLaneSettings()
    """The BOLD lane: volumes to region means."""
    regions: RegionSignalSettings = RegionSignalSettings()
    """Region means to region signals."""


class ModelSection(Settings):
    """The model and the participant's calibration."""

    card: str = "auto"
    """auto: the session card that ``streamer calibrate`` fitted to the participant, where ``calibration`` has one, else
    score. score: band power and signal change as ``[model.score]`` says, for any montage, not trained. simulated: the
    network that ships, which knows one simulated montage. none: no model. Else the path of a model card."""
    score: ScoreSpec = ScoreSpec()
    """A score that needs no training."""
    recentre: RecentreSettings = RecentreSettings()
    """Following slow drift during the session."""
    relevance: RelevanceSettings = RelevanceSettings()
    """What the decision rests on, by taking parts of the window away."""
    estimate: BoldEstimateSettings = BoldEstimateSettings()
    """A guess of the BOLD from the EEG, for when volumes are late."""
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """ONNX Runtime's execution provider; auto takes the fastest that works."""
    calibration: Path | None = None
    """Folder that ``streamer calibrate`` wrote.
    Without one, baselines come from the run's own past and windows say UNCALIBRATED."""


class OutputSection(Settings):
    """Ways out beside MQTT."""

    trigger_stream: bool = True
    """Triggers as an LSL marker stream."""
    score_stream: bool = True
    """What the participant is shown, as an LSL stream."""
    osc: OscSettings = OscSettings()
    """Scores and triggers over OSC."""
    ttl: TtlSettings = TtlSettings()
    """Triggers as pulses on a serial port."""
    clean_eeg_stream: bool = True
    """Cleaned EEG as an LSL stream."""
    record: bool = True
    """Raw data, run log and results on disk."""


class Config(Settings):
    """A whole SESSION.toml."""

    schema_: int = Field(default=SCHEMA, alias="schema", ge=SCHEMA, le=SCHEMA)
    """Version of this format."""
    session: SessionSection = SessionSection()
    """The session and where it is stored."""
    eeg: EegSection = EegSection()
    """Where EEG and markers come from."""
    bold: BoldSection = BoldSection()
    """Where volumes come from, and the regions."""
    clean: CleanSection = CleanSection()
    """Alignment and cleaning."""
    features: BandPowerSettings = BandPowerSettings()
    """Band power."""
    extra: FeatureSetSettings = FeatureSetSettings()
    """Features that are given out beside the model's: phase, tangent vector, connectivity."""
    dynamics: BoldDynamicsSettings = BoldDynamicsSettings()
    """Features of the region signals that are given out beside the model's: feedback levels, connectivity, ALFF."""
    windows: WindowSettings = WindowSettings()
    """What the model sees at a tick."""
    model: ModelSection = ModelSection()
    """The model and the participant's calibration."""
    events: EventSourcesSettings = EventSourcesSettings()
    """What asks for triggers beside the score: a phase of a rhythm, sleep spindles, epileptic spikes."""
    decision: DecisionSettings = DecisionSettings()
    """From probability to trigger."""
    sham: ShamSection = ShamSection()
    """A blinded study: real feedback or sham, from a sealed list."""
    gate: GateSettings = GateSettings()
    """The last check before a trigger leaves."""
    mqtt: MqttSettings = MqttSettings()
    """Results over MQTT."""
    output: OutputSection = OutputSection()
    """Ways out beside MQTT."""
    tick_hz: float = Field(default=10.0, gt=0, le=50)
    """Decisions per second."""

    @field_validator("tick_hz")
    @classmethod
    def _whole_ticks(cls, value: float) -> float:
        if abs(round(10 / value) * value - 10) > 1e-9:
            raise ValueError("a decision must be a whole number of 0.1 s steps apart: 10, 5, 2.5, 2 or 1 Hz")
        return value

    @model_validator(mode="after")
    def _blind(self) -> Config:
        problems = sham_problems(self.sham, self.decision)
        if self.sham.blinded and self.events.enabled:
            problems.append(
                "[events] answers the participant's own EEG, which would tell a sham: expected none of them"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def engine(self) -> EngineSettings:
        """Settings of the EEG core."""
        return EngineSettings(
            timeline=self.clean.timeline,
            triggers=self.clean.triggers,
            eeg=self.clean.eeg,
            features=self.features,
            extra=self.extra,
            regions=self.clean.regions,
            dynamics=self.dynamics,
            windows=self.windows,
            decision=self.decision,
            estimate=self.model.estimate,
            recentre=self.model.recentre,
            relevance=self.model.relevance,
            events=self.events,
            tick_hz=self.tick_hz,
            bold_first_volume=self.bold.first_volume,
            bold_latency_s=self.bold.latency_s,
        )

    def plain(self) -> dict[str, Any]:
        """All settings as plain JSON values."""
        return self.model_dump(mode="json", by_alias=True)

    def sha256(self) -> str:
        """Digest of all settings."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()

    def preprocessing_digest(self) -> str:
        """Digest of all that shapes windows: a calibration serves the very settings that it was made with."""
        return self._digest(lambda name: name not in {"quality", "maps", "view"})

    def model_digest(self) -> str:
        """Digest of what a model's inputs mean: band, rate, reference, features, windows, how region signals are made.

        How artefacts are taken out is not in it: a model learns what clean EEG says, and may be served EEG that was
        cleaned in another way. The participant's baseline comes from a calibration with the session's own settings.
        """
        return self._digest(lambda name: name in {"rate_hz", "band_hz", "reference", "smooth_mm", "method"})

    def extra_digest(self) -> str:
        """Digest of what the features beside band power are made with."""
        return preprocessing_digest(self.plain()["extra"])

    def _digest(self, counts: Callable[[str], bool]) -> str:
        """Digest of what shapes windows; of the lanes' settings those whose name counts."""
        plain = self.plain()
        lanes = {
            lane: {name: value for name, value in plain["clean"][lane].items() if counts(name)}
            for lane in ("eeg", "bold", "regions")
        }
        return preprocessing_digest({**lanes, "features": plain["features"], "windows": plain["windows"]})


def parse_config(values: dict[str, Any], origin: str, base: Path) -> Config:
    """Check plain values against the settings.

    Raises
    ------
    ConfigError
        With every problem: where, what was given, what was expected.
    """
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(origin, [_problem(item) for item in error.errors()]) from error
    return _with_base(config, base)


def load_config(path: Path) -> Config:
    """Read a SESSION.toml.

    Raises
    ------
    UsageError
        The file is not there.
    ConfigError
        It is not TOML, or breaks the rules; every problem is listed.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; `streamer config init {path}` writes one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), [f"not TOML: {error}"]) from error
    return parse_config(values, str(path), path.resolve().parent)


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "(top)"
    given = item.get("input")
    match item["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key (given {given!r})"
        case "missing":
            return f"{where}: missing"
        case _:
            message = item["msg"].removeprefix("Value error, ")
            return f"{where}: given {given!r}; {message[:1].lower()}{message[1:]}"


def _with_base(config: Config, base: Path) -> Config:
    def fix(path: Path | None) -> Path | None:
        return None if path is None else (base / path.expanduser())

    card = config.model.card
    return config.model_copy(
        update={
            "session": config.session.model_copy(update={"directory": fix(config.session.directory)}),
            "bold": config.bold.model_copy(
                update={
                    "directory": fix(config.bold.directory),
                    "regions": fix(config.bold.regions),
                    "region_names": fix(config.bold.region_names),
                    "reference": fix(config.bold.reference),
                    "tissue": fix(config.bold.tissue),
                    "events": fix(config.bold.events),
                }
            ),
            "mqtt": config.mqtt.model_copy(
                update={name: fix(getattr(config.mqtt, name)) for name in ("ca_file", "cert_file", "key_file")}
            ),
            "sham": config.sham.model_copy(
                update={name: fix(getattr(config.sham, name)) for name in ("list", "record", "key")}
            ),
            "model": config.model.model_copy(
                update={
                    "calibration": fix(config.model.calibration),
                    "card": card if card in CARDS else str(base / Path(card).expanduser()),
                }
            ),
        }
    )


def commented_toml(config: Config | None = None) -> str:
    """Write settings as TOML with a comment above every key; a key that is unset stands commented out."""
    lines = ["# EEG-fMRI Streamer: one session. `streamer config check FILE` reads it and lists every problem.", ""]
    _write_table(config if config is not None else Config(), "", lines)
    return "\n".join(lines).rstrip() + "\n"


def _write_table(settings: Settings, prefix: str, lines: list[str]) -> None:
    nested: list[tuple[str, str, Settings]] = []
    for name, info in type(settings).model_fields.items():
        key = info.alias or name
        value = getattr(settings, name)
        comment = " ".join((info.description or "").split())
        if isinstance(value, Settings):
            nested.append((key, comment, value))
            continue
        lines.extend([f"# {comment}"] if comment else [])
        lines.append(f"# {key} =" if value is None else f"{key} = {_toml(value)}")
    for key, comment, value in nested:
        lines.extend(["", f"# {comment}", f"[{prefix}{key}]"])
        _write_table(value, f"{prefix}{key}.", lines)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Path() | str():
            return json.dumps(str(value))
        case Settings():
            return _toml(value.model_dump(mode="json", by_alias=True, exclude_none=True))
        case dict():
            return "{ " + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
        case list() | tuple() | set() | frozenset():
            return "[" + ", ".join(_toml(v) for v in value) + "]"
        case _:
            raise TypeError(f"no TOML for {value!r}")
