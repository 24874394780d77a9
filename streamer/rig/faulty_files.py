"""Faults of the export: files late, missing, cut, twice, in another order; a directory that goes away."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from streamer.acquire.recorded_bold import BoldPart
from streamer.rig.actions import (
    Foreign,
    MakeDirectory,
    RemoveDirectory,
    RenameVolume,
    RepeatVolume,
    StartSeries,
    Timed,
    WriteForeign,
    WriteVolume,
)
from streamer.rig.draw import Draw
from streamer.rig.ledger import Injected

_SUFFIXES = (".tmp", ".part", ".partial", "~")
_CUT_TO = (2, 3, 20, 200)
"""One part of so many is left of a file that is cut: the last ends inside the header."""
_FOREIGN: tuple[Foreign, ...] = ("moco", "text", "hidden")
_RENAMED_S = 0.05
_BEHIND_S = 0.02
_REPEATED_S = 0.3

Group = list[tuple[float, WriteVolume | RenameVolume]]
"""What is done for the file of one volume, in the order of the times; whole at the last."""


def faulty_files(
    written: Sequence[tuple[float, WriteVolume]], bold: BoldPart, draw: Draw, ledger: list[Injected]
) -> list[Timed]:
    """Put the export's faults into its files. A volume gets at most one that is its own."""
    groups: dict[int, Group] = {}
    for at, action in written:
        groups.setdefault(action.k, []).append((at, action))
    control = _restart(groups, bold, draw, ledger)
    repeated = _own_faults(groups, draw, ledger)
    _batch(groups, draw, ledger)
    beside: list[Timed] = [(groups[k][-1][0] + _REPEATED_S, RepeatVolume(k, over)) for k, over in repeated]
    beside += _foreign(groups, draw, ledger)
    actions: list[Timed] = []
    gone = _gone(groups, draw)
    if gone is not None:
        begin, end = gone
        ledger.append(Injected("directory_gone_s", begin, end - begin))
        control += [(begin, RemoveDirectory()), (end, MakeDirectory())]
        for k, group in groups.items():
            if group[-1][0] >= begin:
                # what is half written when the directory goes is written anew as a whole
                groups[k] = [(max(at, end), action) for at, action in group]
        beside = [(end if begin <= at < end else at, action) for at, action in beside]
    for group in groups.values():
        actions += group
    return sorted([*control, *actions, *beside], key=lambda timed: timed[0])


def _restart(groups: dict[int, Group], bold: BoldPart, draw: Draw, ledger: list[Injected]) -> list[Timed]:
    pause = draw.stretch("restarted_scan_s")
    if pause is None:
        return []
    begin, end = pause
    cut = [k for k in sorted(groups) if bold.onset_s(k) < end and bold.onset_s(k) + bold.tr > begin]
    ledger += [
        Injected("restarted_scan_s", groups.pop(k)[-1][0], volume=k, detail="not acquired to its end") for k in cut
    ]
    first = next((k for k in sorted(groups) if bold.onset_s(k) >= end), None)
    if first is None:
        ledger.append(Injected("restarted_scan_s", begin, end - begin, detail="no volume after it"))
        return []
    ledger.append(Injected("restarted_scan_s", begin, end - begin, volume=first, detail="first of the new series"))
    return [(end, StartSeries(first))]


def _own_faults(groups: dict[int, Group], draw: Draw, ledger: list[Injected]) -> list[tuple[int, bool]]:
    order = sorted(groups, key=lambda k: groups[k][-1][0])
    done = [groups[k][-1][0] for k in order]
    names = ("missing_volume", "truncated_volume", "doubled_volume", "temporary_name", "late_volume", "swapped_volume")
    hits = {name: draw.hits(name, done) for name in names}
    fate = {k: next((name for name in names if hits[name][i]), "") for i, k in enumerate(order)}
    for k, after in itertools.pairwise([*order, -1]):
        # it can change places with one that comes as it should alone
        if fate[k] == "swapped_volume" and fate.get(after, "-"):
            fate[k] = ""
    rng = draw.rng("file-kind")
    repeated: list[tuple[int, bool]] = []
    for i, (k, at) in enumerate(zip(order, done, strict=True)):
        kind = int(rng.integers(12))
        match fate[k]:
            case "missing_volume":
                del groups[k]
                ledger.append(Injected("missing_volume", at, volume=k))
            case "truncated_volume":
                parts = _CUT_TO[kind % len(_CUT_TO)]
                groups[k] = [(at, WriteVolume(k, 0, parts))]
                ledger.append(Injected("truncated_volume", at, 1 / parts, volume=k))
            case "doubled_volume":
                repeated.append((k, kind % 2 == 0))
                detail = "over itself" if kind % 2 == 0 else "under another name"
                ledger.append(Injected("doubled_volume", at, volume=k, detail=detail))
            case "temporary_name":
                groups[k] = _renamed(groups[k], _SUFFIXES[kind % len(_SUFFIXES)])
                ledger.append(Injected("temporary_name", at, volume=k, detail=_SUFFIXES[kind % len(_SUFFIXES)]))
            case "late_volume":
                _shift(groups, k, draw.faults.late_volume_s)
                ledger.append(Injected("late_volume", at, draw.faults.late_volume_s, volume=k))
            case "swapped_volume":
                delay = done[i + 1] + _BEHIND_S - at
                _shift(groups, k, delay)
                ledger.append(Injected("swapped_volume", at, delay, volume=k))
            case _:
                pass
    return repeated


def _shift(groups: dict[int, Group], k: int, delay: float) -> None:
    groups[k] = [(at + delay, action) for at, action in groups[k]]


def _renamed(group: Group, suffix: str) -> Group:
    whole_at, last = group[-1]
    parts = [(at - _RENAMED_S, replace(action, suffix=suffix)) for at, action in group]
    return [*parts, (whole_at, RenameVolume(last.k, suffix))]


def _batch(groups: dict[int, Group], draw: Draw, ledger: list[Injected]) -> None:
    size = draw.faults.batch_volumes
    if size < 2:
        return
    order = sorted(
        (k for k in groups if groups[k][-1][0] >= draw.since("batch_volumes")), key=lambda k: groups[k][-1][0]
    )
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        together = groups[batch[-1]][-1][0]
        ledger.append(Injected("batch_volumes", groups[batch[0]][-1][0], float(len(batch)), volume=batch[0]))
        for k in batch:
            _shift(groups, k, together - groups[k][-1][0])


def _foreign(groups: dict[int, Group], draw: Draw, ledger: list[Injected]) -> list[Timed]:
    order = sorted(groups, key=lambda k: groups[k][-1][0])
    done = [groups[k][-1][0] for k in order]
    rng = draw.rng("foreign-kind")
    beside: list[Timed] = []
    for k, at, hit in zip(order, done, draw.hits("foreign_file", done), strict=True):
        what = _FOREIGN[int(rng.integers(len(_FOREIGN)))]
        if hit:
            beside.append((at + _BEHIND_S, WriteForeign(k, what)))
            ledger.append(Injected("foreign_file", at + _BEHIND_S, volume=k, detail=what))
    return beside


def _gone(groups: dict[int, Group], draw: Draw) -> tuple[float, float] | None:
    stretch = draw.stretch("directory_gone_s")
    if stretch is None or "directory_gone_s" in draw.faults.at:
        return stretch
    # a drawn moment is put half way between two files: what has just been written can still be read
    done = sorted({group[-1][0] for group in groups.values()})
    begin, end = next(((a, b) for a, b in itertools.pairwise(done) if a <= stretch[0] < b), (stretch[0], stretch[0]))
    return (begin + end) / 2, (begin + end) / 2 + draw.faults.directory_gone_s
