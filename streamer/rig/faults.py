"""Which faults a scanner room is given, and how many of each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from streamer.contracts import Settings
from streamer.errors import UsageError

Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class RigFaults(Settings):
    """Faults; all are off by default.

    A name without a unit is a share of all volumes, chunks or markers. What happens once has a size instead; it happens
    at the moment that ``at`` gives, else at one that is drawn from the middle of what is played. Of the others, ``at``
    says from when on. A value may be written with its moment: ``"2@30"``.

    The stamps' faults are those of a program that stamps wrongly. LSL's own clock correction compares the hosts'
    clocks, and over loopback both ends have the same one: it cannot take such an error out, as it would the offset and
    drift between two computers. ``clock_offset_s`` makes all stamps of both streams wrong by a constant, so that EEG
    and markers stay together while every age is wrong by it. ``drift_ppm`` is a rate error, which is also what the
    crystal of an amplifier has against its host: the receiver's timeline sees another rate than the nominal one.
    ``clock_step_s`` is the sender's clock being set, or started anew, in the middle of a run.

    RDA carries no stamps, sends each sample once and markers within their blocks: what would change that is refused
    there, and the markers of a block that is lost are lost with it.
    """

    missing_volume: Share = 0.0
    """Its file never comes."""
    truncated_volume: Share = 0.0
    """Its file is cut and stays so."""
    doubled_volume: Share = 0.0
    """Its file comes again, under another name or over itself."""
    temporary_name: Share = 0.0
    """Its file is written under another name and renamed when it is whole."""
    late_volume: Share = 0.0
    """Its file comes ``late_volume_s`` late."""
    late_volume_s: Annotated[float, Field(gt=0, le=600)] = 5.0
    """How late, s."""
    swapped_volume: Share = 0.0
    """Its file comes after the next one's."""
    batch_volumes: int = Field(default=0, ge=0, le=100)
    """Files come so many at a time; 0 and 1: each by itself."""
    foreign_file: Share = 0.0
    """Beside it comes one of a motion-corrected series, a text file or a hidden file."""
    directory_gone_s: Seconds = 0.0
    """The export directory is removed, and made again after so long; what was due meanwhile comes then. Once."""
    restarted_scan_s: Seconds = 0.0
    """The scan is stopped for so long; then volumes come as a new series, numbered anew. The EEG goes on as it was
    recorded, without the volume triggers of that time. Once."""

    jitter_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Mean of the exponential delay of chunks, ms; they keep their order."""
    spike: Share = 0.0
    """Chunk that comes 50 to 300 ms late, and all behind it with it."""
    lost_chunk: Share = 0.0
    """Chunk that is never sent."""
    doubled_chunk: Share = 0.0
    """Chunk that is sent twice, with the same stamps."""
    stamp_jitter_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Standard deviation of an error that all stamps of a chunk share, ms."""
    clock_offset_s: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0
    """Error of all stamps of both streams, s."""
    drift_ppm: Annotated[float, Field(ge=-1e4, le=1e4)] = 0.0
    """How much faster the stamps' clock runs than the host's, parts per million."""
    clock_step_s: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0
    """Step of the stamps' clock, s; below 0 backwards. Once."""
    silent_s: Seconds = 0.0
    """No EEG for so long while the stream stays there; what was taken meanwhile is lost. Once."""
    outlet_gone_s: Seconds = 0.0
    """Both streams go, and come back under the same identity after so long; what falls between is lost. Once."""

    missing_marker: Share = 0.0
    """Never sent."""
    doubled_marker: Share = 0.0
    """Sent twice, with the same stamp."""
    extra_marker: Share = 0.0
    """Followed, within the distance to the next one, by another of its label."""
    late_marker: Share = 0.0
    """Sent up to ``late_marker_s`` after its chunk, with the right stamp."""
    late_marker_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How late at most, s."""
    early_marker: Share = 0.0
    """Sent up to ``early_marker_s`` before its chunk, as if the EEG's way were the longer one."""
    early_marker_s: Annotated[float, Field(gt=0, le=60)] = 0.3
    """How early at most, s."""

    at: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict[str, float])
    """Moment per fault, s on the recording's axis."""

    @model_validator(mode="before")
    @classmethod
    def _take_moments_apart(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = dict(values)
        at = dict(given.get("at") or {})
        for name, value in values.items():
            if name != "at" and isinstance(value, str) and "@" in value:
                given[name], at[name] = value.split("@", 1)
        return {**given, "at": at} if at else given

    @model_validator(mode="after")
    def _moments_of_faults(self) -> RigFaults:
        if wrong := sorted(set(self.at) - set(NAMES)):
            raise ValueError(f"a moment for {', '.join(wrong)}: expected one of {', '.join(NAMES)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Faults that are on."""
        return tuple(
            name for name in NAMES if getattr(self, name) and not (name == "batch_volumes" and self.batch_volumes == 1)
        )

    @classmethod
    def parse(cls, text: str) -> RigFaults:
        """Read faults as they are given on the command line.

        Parameters
        ----------
        text : str
            ``name=value`` or ``name=value@seconds``, several with commas between; ``all`` turns every fault on, and
            what stands beside it comes on top. Or a TOML file (``.toml``) with the same names and values.

        Raises
        ------
        UsageError
            It cannot be read, or a name or value is wrong; all problems are listed.
        """
        text = text.strip()
        problems: list[str] = []
        if text.lower().endswith(".toml"):
            try:
                values = tomllib.loads(Path(text).read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise UsageError(f"{text}: cannot be read as TOML: {error}") from error
        else:
            values = _items(text, problems)
        known = set(cls.model_fields)
        unknown = [name for name in values if name not in known]
        try:
            faults = cls.model_validate({name: value for name, value in values.items() if name in known})
        except ValidationError as error:
            problems += [_sentence(problem) for problem in error.errors()]
            faults = cls()
        if unknown:
            problems.append(
                f"no fault is called {', '.join(unknown)}; there are: all, {', '.join(sorted(known - {'at'}))}"
            )
        if problems:
            raise UsageError(f"faults: {'; '.join(problems)}")
        return faults


_SIZES = frozenset({"at", "late_volume_s", "late_marker_s", "early_marker_s"})
NAMES = tuple(name for name in RigFaults.model_fields if name not in _SIZES)
"""Every fault there is."""

ALL: Mapping[str, float] = {
    **dict.fromkeys(NAMES, 0.02),
    "temporary_name": 0.2,
    "foreign_file": 0.2,
    "batch_volumes": 2,
    "directory_gone_s": 1.0,
    "restarted_scan_s": 4.0,
    "jitter_ms": 3.0,
    "spike": 0.001,
    "lost_chunk": 0.001,
    "doubled_chunk": 0.001,
    "stamp_jitter_ms": 1.0,
    "clock_offset_s": 1.0,
    "drift_ppm": 20.0,
    "clock_step_s": -2.0,
    "silent_s": 2.0,
    "outlet_gone_s": 1.0,
}
"""What ``all`` stands for."""


def _items(text: str, problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in item.partition("="))
        if item == "all":
            values = {**ALL, **values}
        elif not equals or not value:
            problems.append(f"{item!r}: expected name=value, name=value@seconds or all")
        elif name == "at":
            problems.append("at: a moment is written behind its fault, name=value@seconds")
        else:
            values[name] = value
    if not values and not problems:
        problems.append(f"{text!r} names none: expected name=value, all, or a .toml file")
    return values


def _sentence(problem: Any) -> str:
    where = "@".join(reversed([str(part) for part in problem["loc"] if part != "at"])) or "moment"
    given = problem.get("input")
    return f"{where}: {problem['msg']}" + ("" if isinstance(given, Mapping | RigFaults) else f"; given: {given!r}")
