"""The model card: what a model takes, gives and was trained on, as TOML beside its graphs.

::

    kind      graphs                                     made by
    network   eeg (one step, state in and out), bold     ``streamer train``: the fusion network
              (a window of volumes), head
    linear    one per set of modalities                  ``streamer train``, ``streamer calibrate``: a simple rival
    score     none: ``score`` says all                   the settings, ``streamer calibrate``: no training

A model is only served what it was made for: its card names the EEG channels, the regions, the bands and the digest of
the settings that shape its inputs. The card holds the sha256 of every graph, so that none can be swapped alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamer.contracts import Settings
from streamer.decode.score_spec import ScoreSpec

SCHEMA = 2

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
Pattern = Literal["both", "eeg", "bold"]
"""A set of modalities that a window holds."""
PATTERNS: tuple[Pattern, ...] = ("both", "eeg", "bold")
NETWORK_GRAPHS = frozenset({"eeg", "bold", "head"})


class GraphFile(Settings):
    """An ONNX graph that belongs to the card."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\.onnx$")
    """Its name; it lies in the folder of the card."""
    sha256: Sha256
    """Digest of its bytes."""


class EegInput(Settings):
    """Log band power of the EEG, shape (n_steps, channels * bands), channels outermost."""

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
    montage: str = "10-20"
    """The system that the channels' names are of; none of their positions is used."""


class TangentInput(Settings):
    """The EEG's covariance as a tangent vector, shape (width,)."""

    channels: Names
    """Names of the channels, in order."""
    band_hz: tuple[Positive, Positive]
    """Edges of the band-pass, Hz."""
    window_s: Positive
    """s."""
    width: int = Field(gt=0)
    """Numbers in a vector: channels * (channels + 1) / 2."""
    unit: str = "1"
    """Length is the affine-invariant distance from the participant's reference."""


class BoldInput(Settings):
    """Region signals, shape (n_steps, regions)."""

    regions: Names
    """Names of the regions, in order."""
    grid_s: Positive
    """Distance of the steps, s."""
    n_steps: int = Field(gt=0)
    """Steps in a window."""
    unit: str = "%"
    """Signal change against the participant's calibration run."""
    cells: tuple[int, int, int] | None = None
    """The regions are the cells of a box of this shape, x slowest, z fastest: the network takes it as a volume."""


class AgeLimits(Settings):
    """Older data is masked before the model sees it."""

    age_eeg_max_s: Positive = 0.5
    """s."""
    age_bold_max_s: Positive = 6.0
    """s."""


class Temperatures(Settings):
    """Divide the logits before the softmax, per set of modalities that are there (Guo 2017, arXiv:1706.04599)."""

    both: Positive = 1.0
    """EEG and BOLD are there."""
    eeg: Positive = 1.0
    """EEG alone."""
    bold: Positive = 1.0
    """BOLD alone."""


class Doubt(Settings):
    """When the model says that it does not know."""

    alpha: Share = 0.1
    """Share of a block's windows, on average over blocks, whose true class may be missing from the candidates."""
    quantile: dict[Pattern, Share] = Field(default_factory=dict[Pattern, float])
    """A class is a candidate while its probability is at least 1 less this (split conformal prediction; Vovk 2005,
    doi:10.1007/b106715), per set of modalities; a set that is not here has no candidates' sets."""
    coverage: dict[Pattern, Share] = Field(default_factory=dict[Pattern, float])
    """Mean over blocks, held out once more, of the share of windows whose true class was among the candidates."""
    n_blocks: int = Field(default=0, ge=0)
    """Blocks that the quantiles were taken from."""
    disagreement_max: Annotated[float, Field(gt=0)] | None = None
    """Mutual information of the members in nats above which the model abstains; none: no limit."""


class LinearPart(Settings):
    """One fit of a linear rival: features of a window, side by side, to logits."""

    graph: GraphFile
    """Input ``features`` (b, n), output ``logits`` (b, n_classes), calibrated: their softmax is a probability."""
    features: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names in ``decode/window_features.py``, in order."""


class LinearSpec(Settings):
    """How a linear rival's fits go together."""

    parts: dict[Pattern, LinearPart] = Field(min_length=1)
    """By what a window must hold; the richest that it holds decides."""
    add: bool = False
    """With both modalities the single ones' logits are added, less ``log_prior`` once."""
    log_prior: tuple[float, ...] = ()
    """Log of the share of each class in training."""


class TrainingData(Settings):
    """What the model was trained on."""

    data: str
    """Where the data comes from."""
    train: tuple[str, ...] = ()
    """Subjects (or runs) that the weights were fitted on."""
    validation: tuple[str, ...] = ()
    """Subjects that stopped the training and set the temperatures."""
    test: tuple[str, ...] = ()
    """Subjects that only the scores have seen."""
    n_windows: int = Field(default=0, ge=0)
    """Windows that the weights were fitted on."""
    seed: int = 0
    """Of initialisation and batch order."""


class CardScore(Settings):
    """How well the model does on what it had not seen."""

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
    kind: Literal["network", "linear", "score"]
    """How it is served."""
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
    verdict: str = ""
    """Whether it earned its place beside the best rival, with the paired 95 % interval."""
    calibration: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """sha256 of the calibration that a session card was made from; empty for a model of any participant."""
    explained: dict[str, str] = Field(default_factory=dict[str, str])
    """Ways of explaining that were checked on this model against a planted truth, with the figures in words
    (``streamer explain --write``): ``occlusion`` is the live one, ``decode/relevance.py``. What is not here was not
    checked, or did not pass."""
    graphs: dict[Literal["eeg", "bold", "head"], GraphFile] = Field(
        default_factory=dict[Literal["eeg", "bold", "head"], GraphFile]
    )
    """network: its graphs. A network of one modality has no graph for the other."""
    members: int = Field(default=1, ge=1, le=16)
    """network: how many were trained from different seeds and are asked together."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """network: of the weights."""
    checkpoint: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*\.pt)?$")
    """network: file of the weights that gradients are taken from (``streamer explain``)."""
    eeg: EegInput | None = None
    """None for a model of BOLD alone."""
    tangent: TangentInput | None = None
    """None where no covariance enters."""
    bold: BoldInput | None = None
    """None for a model of EEG alone."""
    limits: AgeLimits = AgeLimits()
    """Ages beyond which a modality is masked."""
    temperature: Temperatures = Temperatures()
    """Calibration of the probabilities."""
    bias: dict[Pattern, tuple[float, ...]] = Field(default_factory=dict[Pattern, tuple[float, ...]])
    """Added to the logits after their temperature, one number a class, per set of modalities: a session card's shift of
    a network's head; none adds nothing."""
    doubt: Doubt = Doubt()
    """Sets of candidates, and when the model abstains."""
    linear: LinearSpec | None = None
    """linear: its fits."""
    score: ScoreSpec | None = None
    """score: its terms."""
    training: TrainingData
    """What it was trained on."""
    scores: dict[Pattern, CardScore] = Field(default_factory=dict[Pattern, CardScore])
    """On what it had not seen: ``both``, ``eeg`` alone, ``bold`` alone."""

    @model_validator(mode="after")
    def _whole(self) -> ModelCard:
        problems: list[str] = []
        eeg_channels = self.eeg.channels if self.eeg else ()
        regions = self.bold.regions if self.bold else ()
        for where, names in (("classes", self.classes), ("eeg.channels", eeg_channels), ("bold.regions", regions)):
            if len(set(names)) != len(names):
                problems.append(f"a name stands twice in {where}")
        if any(len(each) != len(self.classes) for each in self.bias.values()):
            problems.append(f"bias: expected {len(self.classes)} numbers, one a class")
        if self.eeg is None and self.bold is None and self.tangent is None:
            problems.append("neither eeg nor bold nor tangent: expected an input")
        if (self.linear is not None) != (self.kind == "linear"):
            problems.append(f"kind is {self.kind}: [linear] is for kind linear, and only for it")
        if (self.score is not None) != (self.kind == "score"):
            problems.append(f"kind is {self.kind}: [score] is for kind score, and only for it")
        needed = {"head"} | {name for name, part in (("eeg", self.eeg), ("bold", self.bold)) if part is not None}
        if self.kind == "network" and set(self.graphs) != needed:
            problems.append(
                f"graphs are {', '.join(sorted(self.graphs)) or '(none)'}: expected {', '.join(sorted(needed))}"
            )
        if self.kind != "network" and self.graphs:
            problems.append(f"kind is {self.kind}: [graphs] is for kind network")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def n_eeg_features(self) -> int:
        """Width of an EEG step: channels times bands; 0 without EEG."""
        return 0 if self.eeg is None else len(self.eeg.channels) * len(self.eeg.bands)

    @property
    def n_regions(self) -> int:
        """Width of a BOLD step; 0 without BOLD."""
        return 0 if self.bold is None else len(self.bold.regions)

    def files(self) -> tuple[GraphFile, ...]:
        """Every graph that belongs to the card."""
        parts = () if self.linear is None else tuple(part.graph for part in self.linear.parts.values())
        return (*self.graphs.values(), *parts)
