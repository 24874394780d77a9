"""What a calibration run leaves behind for the runs after it: baselines, a reference volume, thresholds.

A folder with ``calibration.toml``; ``reference.nii.gz`` when there was BOLD; ``ocular.json`` when eye artefacts are to
be taken out; ``features.json`` when features beside band power learned something; ``card.toml`` with its graphs, the
session card, when a model was fitted to the participant (``session_card/``).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from streamer.clean.eeg.ocular import OcularFit
from streamer.contracts import Settings
from streamer.decode.baseline import PowerBaseline
from streamer.decode.card_file import load_card
from streamer.decode.model_card import ModelCard
from streamer.errors import RecordingError
from streamer.formats.nifti import read_nifti, write_nifti
from streamer.messages import F32, F64, Array

SCHEMA = 1
SESSION_CARD = "card.toml"
"""The card of a model that was fitted to the participant, in the calibration's folder."""
OCULAR = "ocular.json"
FEATURES = "features.json"


class _Stored(Settings):
    schema_: int = Field(alias="schema", ge=SCHEMA, le=SCHEMA)
    source: str
    preprocessing: str
    channels: tuple[str, ...]
    regions: tuple[str, ...]
    power_mean: tuple[float, ...] = ()
    power_sd: tuple[float, ...] = ()
    region_means: tuple[float, ...] = ()
    region_sd: tuple[float, ...] = ()
    threshold_of: str = ""
    threshold_on: float | None = None
    threshold_off: float | None = None
    n_windows: int = 0
    ocular_sha256: str = ""
    extra: str = ""
    features_sha256: str = ""


@dataclass(frozen=True)
class Calibration:
    """Baselines and thresholds of one participant.

    Parameters
    ----------
    source : str
        Name of the calibration run.
    preprocessing : str
        Digest of the settings that it was made with.
    channels, regions : tuple of str
        What it fits.
    baseline : PowerBaseline or None
        Of log band power.
    region_means : ndarray or None
        Mean intensity per region, shape (n_regions,).
    region_sd : ndarray or None
        Standard deviation of each region's signal change over the run, %, shape (n_regions,).
    reference : (ndarray, ndarray) or None
        Volume and affine that motion is measured against.
    threshold_on, threshold_off : float or None
        Of the decision.
    threshold_of : str
        Name of the card whose probabilities these were taken from; empty where that is not known.
    n_windows : int
        Windows that the thresholds were taken from.
    ocular : OcularFit or None
        Takes eye artefacts out.
    extra : str
        Digest of the settings of the features beside band power.
    learned : mapping
        What these features learned: their models and references, as plain values.
    sha256 : str
        Of its file; empty while it was not read from one.
    """

    source: str
    preprocessing: str
    channels: tuple[str, ...]
    regions: tuple[str, ...]
    baseline: PowerBaseline | None = None
    region_means: F32 | None = None
    region_sd: F32 | None = None
    reference: tuple[Array, F64] | None = None
    threshold_on: float | None = None
    threshold_off: float | None = None
    threshold_of: str = ""
    n_windows: int = 0
    ocular: OcularFit | None = None
    extra: str = ""
    learned: Mapping[str, Any] = field(default_factory=dict[str, Any])
    plain: dict[str, Any] = field(default_factory=dict[str, Any], compare=False)
    sha256: str = field(default="", compare=False)

    def sd_by_region(self) -> dict[str, float]:
        """Standard deviation of each region's signal change, %; empty where there is none."""
        if self.region_sd is None:
            return {}
        return {name: float(sd) for name, sd in zip(self.regions, self.region_sd, strict=True)}

    def fit_problems(self, channels: tuple[str, ...], regions: tuple[str, ...], preprocessing: str) -> list[str]:
        """List every way in which this calibration does not fit a session."""
        problems: list[str] = []
        if self.channels != channels:
            problems.append(f"calibrated channels {_diff(self.channels, channels)}")
        if self.regions != regions:
            problems.append(f"calibrated regions {_diff(self.regions, regions)}")
        if self.preprocessing != preprocessing:
            problems.append(f"preprocessing {self.preprocessing[:12]}, the session has {preprocessing[:12]}")
        if self.ocular is not None and self.ocular.outputs != channels:
            problems.append(f"eye artefacts were fitted for channels {_diff(self.ocular.outputs, channels)}")
        return problems


def _diff(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    return f"{len(ours)} ({', '.join(ours[:4])}, …), the session has {len(theirs)} ({', '.join(theirs[:4])}, …)"


def save_calibration(calibration: Calibration, folder: Path) -> Path:
    """Write a calibration; gives the path of its TOML. An older one in the folder is replaced, its card goes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SESSION_CARD).unlink(missing_ok=True)
    base = calibration.baseline
    eyes = None if calibration.ocular is None else calibration.ocular.model_dump_json()
    learned = json.dumps(calibration.learned) if calibration.learned else None
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "source": calibration.source,
        "preprocessing": calibration.preprocessing,
        "channels": list(calibration.channels),
        "regions": list(calibration.regions),
        "power_mean": [] if base is None else base.mean.tolist(),
        "power_sd": [] if base is None else base.sd.tolist(),
        "region_means": []
        if calibration.region_means is None
        else [
            # JSON's NaN is no TOML; a level of 0 is none
            float(v) if np.isfinite(v) else 0.0
            for v in calibration.region_means
        ],
        "region_sd": [] if calibration.region_sd is None else [float(v) for v in calibration.region_sd],
        "threshold_of": calibration.threshold_of,
        "threshold_on": calibration.threshold_on,
        "threshold_off": calibration.threshold_off,
        "n_windows": calibration.n_windows,
        "ocular_sha256": "" if eyes is None else _sha256(eyes),
        "extra": calibration.extra,
        "features_sha256": "" if learned is None else _sha256(learned),
    }
    # JSON's strings, numbers and lists of them are TOML's
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    path = folder / "calibration.toml"
    temporary = folder / ".calibration.toml.tmp"
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if calibration.reference is not None:
        data, affine = calibration.reference
        write_nifti(folder / "reference.nii.gz", np.asarray(data, np.float32), affine)
    for name, text in ((OCULAR, eyes), (FEATURES, learned)):
        if text is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path


def load_calibration(folder: Path) -> Calibration:
    """Read what :func:`save_calibration` wrote.

    Raises
    ------
    RecordingError
        It is not there, cannot be read, or is not a calibration.
    """
    path = folder / "calibration.toml"
    try:
        raw = path.read_bytes()
        stored = _Stored.model_validate(tomllib.loads(raw.decode("utf-8")))
        baseline = PowerBaseline(np.array(stored.power_mean), np.array(stored.power_sd)) if stored.power_mean else None
    except FileNotFoundError as error:
        raise RecordingError(
            f"{path}: no such calibration; `streamer calibrate RUN --out {folder}` makes one"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError, ValueError) as error:
        raise RecordingError(f"{path}: not a calibration: {error}") from error
    reference = None
    image = folder / "reference.nii.gz"
    if image.exists():
        volume = read_nifti(image)[0]
        reference = (volume.data, volume.affine)
    return Calibration(
        source=stored.source,
        preprocessing=stored.preprocessing,
        channels=stored.channels,
        regions=stored.regions,
        baseline=baseline,
        region_means=np.array(stored.region_means, np.float32) if stored.region_means else None,
        region_sd=np.array(stored.region_sd, np.float32) if stored.region_sd else None,
        reference=reference,
        threshold_of=stored.threshold_of,
        threshold_on=stored.threshold_on,
        threshold_off=stored.threshold_off,
        n_windows=stored.n_windows,
        ocular=_read_ocular(folder / OCULAR, stored.ocular_sha256),
        extra=stored.extra,
        learned=_read_learned(folder / FEATURES, stored.features_sha256),
        plain=stored.model_dump(mode="json", by_alias=True),
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def session_card_problems(card: ModelCard, calibration: Calibration | None) -> list[str]:
    """Say whether a card was made from another calibration than the one in force; empty when it fits."""
    given = "" if calibration is None else calibration.sha256
    if not card.calibration or card.calibration == given:
        return []
    found = f"the session's has sha256 {given[:12]}" if given else "the session has none that was read from a file"
    return [f"card {card.name} was fitted with the calibration of sha256 {card.calibration[:12]}: {found}"]


def copy_session_card(source: Path, folder: Path) -> Path | None:
    """Copy the session card of a calibration's folder with its graphs; None where there is none.

    Raises
    ------
    ModelError
        The card or a graph is altered.
    """
    path = source / SESSION_CARD
    if not path.exists():
        return None
    for graph in load_card(path).card.files():
        shutil.copyfile(source / graph.file, folder / graph.file)
    return shutil.copyfile(path, folder / SESSION_CARD)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read_unaltered(path: Path, sha256: str) -> str:
    text = path.read_text(encoding="utf-8")
    if _sha256(text) != sha256:
        raise ValueError("altered since it was fitted")
    return text


def _read_ocular(path: Path, sha256: str) -> OcularFit | None:
    if not sha256:
        return None
    try:
        return OcularFit.model_validate_json(_read_unaltered(path, sha256))
    except (OSError, UnicodeDecodeError, ValidationError, ValueError) as error:
        raise RecordingError(f"{path}: not the eye correction of this calibration: {error}") from error


def _read_learned(path: Path, sha256: str) -> Mapping[str, Any]:
    if not sha256:
        return {}
    try:
        learned: Mapping[str, Any] = json.loads(_read_unaltered(path, sha256))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise RecordingError(f"{path}: not what this calibration's features learned: {error}") from error
    return learned
