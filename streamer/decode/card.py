"""The model card: what a model takes, gives and was trained on, as TOML beside its graph.

A model is only served what it was trained on: its card names the EEG channels, the regions, the bands and the digest of
the settings that shape its inputs, and ``fit_problems`` lists every difference with a session. The card holds the
sha256 of the graph, so that neither can be swapped alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from streamer.contracts import Settings
from streamer.errors import ModelError

SCHEMA = 1

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Names = Annotated[tuple[str, ...], Field(min_length=1)]


class GraphFile(Settings):
    """The ONNX graph that the card belongs to."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\.onnx$")
    """Its name; it lies in the folder of the card."""
    sha256: Sha256
    """Digest of its bytes."""


class EegInput(Settings):
    """Input ``eeg``: log band power, shape (batch, n_steps, channels * bands), channels outermost."""

    channels: Names
    """Names of the channels, in order."""
    bands: dict[str, tuple[Positive, Positive]] = Field(min_length=1)
    """Name to (low, high) edge in Hz, in order."""
    step_s: Positive
    """Length of a step, s."""
    n_steps: int = Field(gt=0)
    """Steps in a window."""
    sfreq_hz: Positive
    """Rate of the cleaned EEG in training, Hz."""
    sfreq_tolerance: Share = 0.05
    """Relative difference from ``sfreq_hz`` that is accepted."""
    unit: str = "z"
    """Natural log of power in V², z-scored against the participant's calibration run."""


class BoldInput(Settings):
    """Input ``bold``: region signals, shape (batch, n_steps, regions)."""

    regions: Names
    """Names of the regions, in order."""
    grid_s: Positive
    """Distance of the steps, s."""
    n_steps: int = Field(gt=0)
    """Steps in a window."""
    unit: str = "%"
    """Signal change against the participant's calibration run."""


class AgeLimits(Settings):
    """Older data is masked before the model sees it."""

    age_eeg_max_s: Positive = 0.5
    """s."""
    age_bold_max_s: Positive
    """s."""


class Temperatures(Settings):
    """Divide the logits before the softmax, per set of modalities that are there (Guo 2017, arXiv:1706.04599)."""

    both: Positive = 1.0
    """EEG and BOLD are there."""
    eeg: Positive = 1.0
    """EEG alone."""
    bold: Positive = 1.0
    """BOLD alone."""


class TrainingData(Settings):
    """What the model was trained on."""

    data: str
    """Where the data comes from."""
    train: tuple[str, ...] = Field(min_length=1)
    """Subjects that the weights were fitted on."""
    validation: tuple[str, ...] = Field(min_length=1)
    """Subjects that stopped the training and set the temperatures."""
    test: tuple[str, ...] = ()
    """Subjects that only the scores have seen."""
    n_windows: int = Field(gt=0)
    """Windows that the weights were fitted on."""
    seed: int
    """Of initialisation and batch order."""


class CardScore(Settings):
    """How well the model does on the test subjects."""

    window_accuracy: Share
    """Share of windows."""
    block_accuracy: Share
    """Share of blocks; a block's decision is its mean probability."""
    block_ci95: tuple[Share, Share]
    """Wilson interval of ``block_accuracy``."""
    n_blocks: int = Field(gt=0)
    """Blocks scored."""
    chance: Share
    """Share of the commoner class among the blocks."""


class ModelCard(Settings):
    """Everything that a session has to know of a model."""

    schema_: int = Field(default=SCHEMA, alias="schema", ge=SCHEMA, le=SCHEMA)
    """Version of this format."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Letters, digits, dot, dash, underscore."""
    description: str
    """What it is, in a sentence."""
    licence: str
    """SPDX identifier."""
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    """Names of the outputs, in order."""
    preprocessing: Sha256
    """``preprocessing_digest`` of the settings that shaped the inputs."""
    pairing: Literal["model", "display", "hrf", "bank"] = "model"
    """How EEG and BOLD were put together over the haemodynamic lag: ``WindowSettings.pairing``."""
    graph: GraphFile
    """The ONNX graph."""
    eeg: EegInput
    """Input ``eeg``."""
    bold: BoldInput
    """Input ``bold``."""
    limits: AgeLimits
    """Ages beyond which a modality is masked."""
    temperature: Temperatures = Temperatures()
    """Calibration of the probabilities."""
    training: TrainingData
    """What it was trained on."""
    scores: dict[str, CardScore] = Field(default_factory=dict)
    """On the test subjects: ``both``, ``eeg`` alone, ``bold`` alone."""

    @model_validator(mode="after")
    def _names_differ(self) -> ModelCard:
        named = (("classes", self.classes), ("eeg.channels", self.eeg.channels), ("bold.regions", self.bold.regions))
        doubled = [where for where, names in named if len(set(names)) != len(names)]
        if doubled:
            raise ValueError(f"a name stands twice in {', '.join(doubled)}")
        return self

    @property
    def n_eeg_features(self) -> int:
        """Width of an EEG step: channels times bands."""
        return len(self.eeg.channels) * len(self.eeg.bands)


@dataclass(frozen=True, slots=True)
class LoadedCard:
    """A card that was read from a file, with its graph checked."""

    card: ModelCard
    sha256: str
    """Of the card's file."""
    graph_path: Path


def preprocessing_digest(settings: Mapping[str, Any]) -> str:
    """Digest the settings that shape a model's inputs: sha256 of their JSON with sorted keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load_card(path: Path) -> LoadedCard:
    """Read a card and check the graph that it names.

    Raises
    ------
    ModelError
        The card or the graph is missing or cannot be read, the card breaks the rules (all problems are listed), its
        schema is newer than ours, or the graph is not the one that the card was written for.
    """
    try:
        raw = path.read_bytes()
        values = tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise ModelError(f"model card {path}: cannot be read: {error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"model card {path}: not TOML: {error}") from error
    schema = values.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ModelError(f"model card {path}: schema {schema} is newer than this program reads (up to {SCHEMA})")
    try:
        card = ModelCard.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(f"  - {_problem(item)}" for item in error.errors())
        raise ModelError(f"model card {path}: {error.error_count()} problem(s)\n{problems}") from error
    graph_path = path.parent / card.graph.file
    read_graph(graph_path, card.graph.sha256)
    return LoadedCard(card, hashlib.sha256(raw).hexdigest(), graph_path)


def read_graph(path: Path, sha256: str) -> bytes:
    """Read a graph and check its digest.

    Raises
    ------
    ModelError
        It is missing, or its digest is not ``sha256``.
    """
    try:
        graph = path.read_bytes()
    except OSError as error:
        raise ModelError(f"model graph {path}: cannot be read: {error}") from error
    found = hashlib.sha256(graph).hexdigest()
    if found != sha256:
        raise ModelError(f"model graph {path}: sha256 is {found}, but its card expects {sha256}: it was altered")
    return graph


def fit_problems(card: ModelCard, channels: Sequence[str], regions: Sequence[str], digest: str) -> list[str]:
    """List every difference between what a model takes and what a session gives; empty when it fits.

    Parameters
    ----------
    card : ModelCard
    channels : sequence of str
        The session's cleaned EEG channels, in order.
    regions : sequence of str
        The session's regions, in order.
    digest : str
        ``preprocessing_digest`` of the session's settings.
    """
    problems = _name_problems("EEG channels", card.eeg.channels, channels)
    problems += _name_problems("regions", card.bold.regions, regions)
    if digest != card.preprocessing:
        problems.append(
            f"preprocessing settings differ: their digest is {digest[:12]}, the model was trained with "
            f"{card.preprocessing[:12]}"
        )
    return problems


def sfreq_problems(card: ModelCard, sfreq: float) -> list[str]:
    """Say whether the rate of the cleaned EEG (Hz) is too far from the one in training; empty when it fits."""
    expected, tolerance = card.eeg.sfreq_hz, card.eeg.sfreq_tolerance
    if math.isfinite(sfreq) and abs(sfreq - expected) <= tolerance * expected:
        return []
    return [f"rate of the cleaned EEG is {sfreq:g} Hz: expected {expected:g} Hz within {100 * tolerance:g} %"]


def dump_card(card: ModelCard) -> str:
    """Write a card as TOML; ``load_card`` reads it back."""
    lines: list[str] = []
    _write_table(card.model_dump(mode="json", by_alias=True), "", lines)
    return "\n".join(lines).strip() + "\n"


def _name_problems(what: str, expected: Sequence[str], given: Sequence[str]) -> list[str]:
    if tuple(expected) == tuple(given):
        return []
    missing = [name for name in expected if name not in given]
    extra = [name for name in given if name not in expected]
    problems: list[str] = []
    if missing:
        problems.append(f"{what} that the model expects are missing: {', '.join(missing)}")
    if extra:
        problems.append(f"{what} that the model does not know are given: {', '.join(extra)}")
    if not problems:
        problems.append(f"{what} are given as {', '.join(given)}: expected each once, as {', '.join(expected)}")
    return problems


def _problem(item: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "(top)"
    match item["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key (given {item.get('input')!r})"
        case "missing":
            return f"{where}: missing"
        case _:
            message = str(item["msg"]).removeprefix("Value error, ")
            return f"{where}: given {item.get('input')!r}; {message[:1].lower()}{message[1:]}"


def _write_table(table: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    lines.extend(f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, Mapping))
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines.extend(["", f"[{prefix}{_key(key)}]"])
            _write_table(value, f"{prefix}{_key(key)}.", lines)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _string(key)


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _string(value)
        case list() | tuple():
            return "[" + ", ".join(_value(item) for item in value) + "]"
        case _:
            raise TypeError(f"a model card holds {value!r}: no TOML for {type(value).__name__}")
