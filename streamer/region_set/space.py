"""The chain of transforms from the space that regions come in to the run's own EPI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from streamer.errors import UsageError
from streamer.messages import F64
from streamer.region_set.affine_fit import Picture, inverse
from streamer.region_set.target import Target, mni_template, read_t1
from streamer.region_set.transforms import Transform, check_given, estimate, given_transform

Space = Literal["mni", "t1", "epi"]


@dataclass(frozen=True)
class SpaceOptions:
    """What is known of the way to the EPI."""

    space: Space = "mni"
    """Which space coordinates, atlas or mask are in."""
    t1: Path | None = None
    """The participant's T1 image."""
    mni_to_epi: Path | None = None
    mni_to_t1: Path | None = None
    t1_to_epi: Path | None = None
    """Transforms as files; what is not given is estimated."""


def find_chain(options: SpaceOptions, target: Target) -> tuple[F64, tuple[Transform, ...]]:
    """Give the matrix that takes points to the EPI, and the transforms that it is made of.

    Raises
    ------
    UsageError
        What was given contradicts itself, or the images.
    RecordingError
        A registration cannot be trusted.
    """
    _check(options)
    if options.space == "epi":
        return np.eye(4), ()
    t1 = read_t1(options.t1) if options.t1 is not None else None
    if options.space == "t1":
        step = _t1_to_epi(options, target, t1)
        return step.matrix, (step,)
    template = mni_template()
    if options.mni_to_epi is not None:
        step = check_given(given_transform("mni-to-epi", options.mni_to_epi), target.picture, template)
        return step.matrix, (step,)
    if t1 is None and options.t1_to_epi is None:
        step = estimate("mni-to-epi", target.picture, template, rigid=False, symmetric=True)
        return step.matrix, (step,)
    if options.mni_to_t1 is not None:
        first = given_transform("mni-to-t1", options.mni_to_t1)
    else:
        assert t1 is not None
        first = _mni_to_t1(t1, template)
    second = _t1_to_epi(options, target, t1)
    whole = Transform("mni-to-epi", second.matrix @ first.matrix, "given", {})
    whole = check_given(whole, target.picture, template)
    return whole.matrix, (first, second)


def _check(options: SpaceOptions) -> None:
    if options.space == "epi" and (options.t1 or options.mni_to_epi or options.mni_to_t1 or options.t1_to_epi):
        raise UsageError("--space epi needs no transform and no T1 image: the regions are in the run's own space")
    if options.mni_to_epi and (options.mni_to_t1 or options.t1_to_epi or options.space == "t1"):
        raise UsageError("--mni-to-epi is the whole way: expected neither --space t1, --mni-to-t1 nor --t1-to-epi")
    if options.space == "t1" and options.mni_to_t1:
        raise UsageError("--space t1 has no use for --mni-to-t1")
    if options.t1 is None and options.space == "t1" and options.t1_to_epi is None:
        raise UsageError("--space t1: expected the T1 image (--t1) or the transform (--t1-to-epi)")
    if options.t1 is None and bool(options.mni_to_t1) != bool(options.t1_to_epi):
        raise UsageError("--mni-to-t1 and --t1-to-epi go together where no T1 image is given (--t1)")


def _t1_to_epi(options: SpaceOptions, target: Target, t1: Picture | None) -> Transform:
    if options.t1_to_epi is None:
        assert t1 is not None
        return estimate("t1-to-epi", target.picture, t1, rigid=True, symmetric=False)
    step = given_transform("t1-to-epi", options.t1_to_epi)
    return step if t1 is None else check_given(step, target.picture, t1)


def _mni_to_t1(t1: Picture, template: Picture) -> Transform:
    # points are taken in the template's brain: the T1 image shows what the template lacks
    found = estimate("t1-to-mni", template, t1, rigid=False, symmetric=True)
    return Transform("mni-to-t1", inverse(found.matrix), found.how, found.facts)
