"""What other packages make of the volumes that `streamer bench bold` is measured on.

They run as separate programs in an environment of their own, on files that we write, one thread each, and are judged
by the same measures:

    python -m venv boldpeers && boldpeers/bin/pip install -r benchmarks/bold-peers-requirements.txt
    streamer bench bold --peers boldpeers/bin/python

which runs `boldpeers/bin/python benchmarks/bold_peers.py FOLDER METHOD...`: FOLDER holds `volumes.npy` (n, x, y, z),
the first being the reference, and `affine.npy` (4, 4), voxel index to mm about the grid's middle. It writes
`METHOD.json`: the poses (n, 4, 4) in that world, where a point of the head went, and ms of each volume; with
`--resampled` the volumes on the reference's grid as `METHOD.npy`, too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
for variable in THREADS:
    # numpy and ITK read them when they are imported
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

Found = Iterator[tuple[Any, float, float, Any]]
"""Of each volume: the pose, ms of registration, ms of resampling (NaN where the call does both), the volume moved."""


def rtspm(volumes: Any, affine: Any) -> Found:
    """Run OpenNFT's port of SPM's realign and reslice: FWHM 5 mm, every 4 mm, B-splines of order 4."""
    from rtspm import spm_realign_rt, spm_reslice_rt

    # SPM counts voxels from 1
    from_one = affine.copy()
    from_one[:3, 3] -= affine[:3, :3].sum(axis=1)
    flags = {"quality": 0.9, "fwhm": 5, "sep": 4, "interp": 4, "wrap": np.zeros((3, 1)), "rtm": 0, "PW": ""}
    flags.update(lkp=np.arange(6), mask=1, mean=0, which=2)

    def image(volume: Any) -> dict[str, Any]:
        data = np.asfortranarray(volume, dtype=np.float64)
        return {"mat": from_one.copy(), "dim": np.array(volume.shape), "Vol": data, "C": None}

    first = image(volumes[0])
    state: tuple[Any, ...] = ([], [], [], [], [], [])
    for index, volume in enumerate(volumes):
        began = time.perf_counter()
        pair = [first, image(volume)]
        with np.errstate(all="ignore"):
            pair, *rest = spm_realign_rt(pair, flags, index, 0, *state)
        state = tuple(rest[:6])
        registered = time.perf_counter()
        moved = spm_reslice_rt(pair, flags)
        done = time.perf_counter()
        pose = from_one @ np.linalg.inv(pair[1]["mat"])
        yield pose, 1e3 * (registered - began), 1e3 * (done - registered), moved


def simpleitk(volumes: Any, affine: Any) -> Found:
    """Run SimpleITK: Euler3D, mean squares, regular-step gradient descent on three levels, linear interpolation."""
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    size = np.linalg.norm(affine[:3, :3], axis=0)

    def image(volume: Any) -> Any:
        made = sitk.GetImageFromArray(volume.astype(np.float32).transpose(2, 1, 0))
        made.SetSpacing(size.tolist())
        made.SetOrigin(affine[:3, 3].tolist())
        made.SetDirection((affine[:3, :3] / size).ravel().tolist())
        return made

    fixed = image(volumes[0])
    for volume in volumes:
        moving = image(volume)
        began = time.perf_counter()
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMeanSquares()
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 100, relaxationFactor=0.5)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([2, 1, 0])
        method.SetInitialTransform(sitk.Euler3DTransform(), inPlace=False)
        found = method.Execute(fixed, moving)
        registered = time.perf_counter()
        out = sitk.Resample(moving, fixed, found, sitk.sitkBSpline, 0.0, sitk.sitkFloat32)
        done = time.perf_counter()
        points = np.vstack([np.zeros(3), np.eye(3)])
        there = np.array([found.TransformPoint(point.tolist()) for point in points])
        pose = np.eye(4)
        pose[:3, 3] = there[0]
        pose[:3, :3] = (there[1:] - there[0]).T
        moved = sitk.GetArrayFromImage(out).transpose(2, 1, 0)
        yield pose, 1e3 * (registered - began), 1e3 * (done - registered), moved


def ants_with(kind: str) -> Callable[[Any, Any], Found]:
    """Run antspyx with one of its presets; its call resamples, too."""

    def run(volumes: Any, affine: Any) -> Found:
        import ants

        size = np.linalg.norm(affine[:3, :3], axis=0)
        place = {
            "origin": affine[:3, 3].tolist(), "spacing": size.tolist(), "direction": affine[:3, :3] / size,
        }  # fmt: skip
        fixed = ants.from_numpy(volumes[0].astype(np.float32), **place)
        for volume in volumes:
            moving = ants.from_numpy(volume.astype(np.float32), **place)
            began = time.perf_counter()
            found = ants.registration(fixed, moving, type_of_transform=kind, random_seed=1)
            done = time.perf_counter()
            read = ants.read_transform(found["fwdtransforms"][-1])
            matrix = np.asarray(read.parameters[:9]).reshape(3, 3)
            middle = np.asarray(read.fixed_parameters)
            pose = np.eye(4)
            pose[:3, :3] = matrix
            pose[:3, 3] = np.asarray(read.parameters[9:]) + middle - matrix @ middle
            for path in {*found["fwdtransforms"], *found["invtransforms"]}:
                Path(path).unlink(missing_ok=True)
            yield pose, 1e3 * (done - began), float("nan"), found["warpedmovout"].numpy()

    return run


METHODS: dict[str, tuple[str, Callable[[Any, Any], Found]]] = {
    "rtspm": ("python-rtspm", rtspm),
    "simpleitk": ("SimpleITK", simpleitk),
    "ants-boldrigid": ("antspyx", ants_with("BOLDRigid")),
    "ants-quickrigid": ("antspyx", ants_with("QuickRigid")),
    "ants-rigid": ("antspyx", ants_with("Rigid")),
}


def measure(folder: Path, name: str, *, keep: bool) -> None:
    """Run one method over the folder's volumes and write what it found."""
    volumes, affine = np.load(folder / "volumes.npy", mmap_mode="r"), np.load(folder / "affine.npy")
    package, run = METHODS[name]
    poses, register, resample, moved = [], [], [], []
    for pose, register_ms, resample_ms, image in run(volumes, affine):
        poses.append(np.asarray(pose).tolist())
        register.append(register_ms)
        resample.append(None if np.isnan(resample_ms) else resample_ms)
        if keep:
            moved.append(np.asarray(image, np.float32))
    if keep:
        np.save(folder / f"{name}.npy", np.stack(moved))
    result = {
        "name": f"{package} {importlib.metadata.version(package)}",
        "poses": poses,
        "register_ms": register,
        "resample_ms": resample,
    }
    (folder / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")


def main() -> None:
    """Measure each method that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("methods", nargs="+", choices=METHODS)
    parser.add_argument("--resampled", action="store_true", help="write the volumes on the reference's grid, too")
    chosen = parser.parse_args()
    for name in chosen.methods:
        measure(chosen.folder, name, keep=chosen.resampled)


if __name__ == "__main__":
    main()
