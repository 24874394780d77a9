"""``streamer train`` as a user meets it: broken off and gone on with, on a cluster, on one modality."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.checkpoint import load_ensemble
from models.fitting.settings import TrainSettings
from models.pipeline import Plan, make_model
from models.subject_files import load_windows, sources, window_files
from models.workers import workers
from streamer.clock import pause, stopwatch
from streamer.config import Config
from streamer.decode.card_file import load_card
from streamer.decode.load_model import load_model
from streamer.simulate.session import SimulationSettings, simulate_session
from tests.unit.synthetic_windows import subject_windows

pytestmark = [pytest.mark.system, pytest.mark.beside, pytest.mark.timeout(400)]

QUICK = TrainSettings(seed=2, members=1, epochs=2, batch=128, stride=4, learning_rate=5e-3, device="cpu")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("kept")
    for k in range(5):
        subject_windows(f"s{k}", 100 + k).save(folder / f"s{k}.npz")
    return tuple(str(folder / f"s{k}.npz") for k in range(5))


def command(out: Path, work: Path, kept: tuple[str, ...], *more: str) -> list[str]:
    given = [part for path in kept for part in ("--dataset", path)]
    own = ("--members", "2", "--epochs", "6", "--device", "cpu", "--work", str(work), "--json")
    return [sys.executable, "-m", "streamer", "train", str(out), *given, *own, *more]


def weights(out: Path) -> dict[str, torch.Tensor]:
    (checkpoint,) = out.glob("*.pt")
    return load_ensemble(checkpoint).state_dict()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_broken_off_goes_on_with_the_same_command(
    tmp_path: Path, kept: tuple[str, ...], how: signal.Signals
) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    with subprocess.Popen(
        command(out, work, kept),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # tests that run in the background of a shell hand on that SIGINT is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as first:
        until = stopwatch() + 200
        while not list(work.glob("member-*.pt")) and first.poll() is None and stopwatch() < until:
            pause(0.01)
        first.send_signal(how)
        first.communicate()
    assert first.returncode not in {0, 1}
    assert list(work.glob("member-1-*.pt"))
    assert not list(out.glob("*.toml"))
    for where, folder in ((out, work), (tmp_path / "whole", tmp_path / "fresh")):
        done = subprocess.run(command(where, folder, kept), capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["device"] == "cpu, float32"
    broken, whole = weights(out), weights(tmp_path / "whole")
    assert broken.keys() == whole.keys()
    assert all(torch.equal(broken[key], whole[key]) for key in whole)
    # all figures follow from the weights
    facts = [json.loads((folder / "default.json").read_text(encoding="utf-8")) for folder in (out, tmp_path / "whole")]
    assert facts[0]["models"] == facts[1]["models"]
    assert facts[0]["curves"] == facts[1]["curves"]


def test_a_scheduler_that_is_not_there_is_told(tmp_path: Path, kept: tuple[str, ...]) -> None:
    refused = subprocess.run(
        command(tmp_path / "out", tmp_path / "work", kept, "--folds", "3", "--scheduler", "nonsense://nowhere"),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert refused.returncode == 3
    assert "no Dask scheduler answers at nonsense://nowhere" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.fixture(scope="module")
def offloading() -> None:
    # distributed keeps one thread for large arrays as long as the process lives: it is there before a test begins
    from distributed import utils

    offload: Any = utils.offload
    asyncio.run(offload(int))


@pytest.fixture
def cluster(offloading: None) -> Iterator[str]:
    from distributed import LocalCluster

    made: Any = LocalCluster

    with made(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, host="tcp://127.0.0.1"
    ) as found:
        yield found.scheduler_address


def test_folds_run_on_a_cluster(tmp_path: Path, kept: tuple[str, ...], cluster: str) -> None:
    plan = Plan(tmp_path / "out", subjects=0, datasets=kept, training=QUICK, folds=3, scheduler=cluster)
    made = make_model(plan, Config(), lambda *_: None, lambda _: None)
    # 5 subjects of 9 blocks that windows end in
    assert (made.gain.unit, made.gain.n_units) == ("block", 45)
    assert "3 folds by subject" in made.verdict


def test_sessions_are_replayed_on_a_cluster_as_they_are_here(tmp_path: Path, cluster: str) -> None:
    small = SimulationSettings(
        seed=11,
        n_channels=12,
        sfreq=1000.0,
        grid=(24, 24, 8),
        calibration_s=32.0,
        n_blocks=4,
        block_s=8.0,
        gradient_v=1e-3,
    )
    simulate_session(tmp_path / "session", small, workers=1)
    wanted = sources([f"sub-01={tmp_path / 'session'}"], [])
    found = []
    for name, scheduler in (("here", None), ("there", cluster)):
        files = window_files(wanted, Config(), tmp_path / name, partial(workers, 1, scheduler), lambda *_: None)
        found.append(load_windows(wanted, files)[0])
    assert len(found[0]) > 100
    for array in ("eeg", "bold", "age", "valid", "label", "time"):
        assert np.array_equal(getattr(found[0], array), getattr(found[1], array)), array


def test_one_modality_makes_cards_of_one_modality(tmp_path: Path) -> None:
    for k in range(5):
        windows = subject_windows(f"s{k}", 100 + k)
        valid = windows.valid * np.array([0, 1], np.float32)
        bare = replace(windows, eeg=windows.eeg[:, :, :0], valid=valid, age=windows.age * valid)
        bare.save(tmp_path / f"s{k}.npz")
    files = tuple(str(tmp_path / f"s{k}.npz") for k in range(5))
    plan = Plan(tmp_path / "out", subjects=0, datasets=files, training=QUICK)
    made = make_model(plan, Config(), lambda *_: None, lambda _: None)
    for loaded in (made.written.default, made.written.other):
        assert loaded.card.eeg is None
        assert set(loaded.card.scores) == {"bold"}
        load_model(loaded, "cpu").warm_up()
    assert set(made.written.network.card.graphs) == {"bold", "head"}


def test_regions_may_be_the_cells_of_a_box(tmp_path: Path, kept: tuple[str, ...]) -> None:
    plan = Plan(tmp_path, subjects=0, datasets=kept, training=QUICK, head="pyramid", cells=(3, 1, 1))
    made = make_model(plan, Config(), lambda *_: None, lambda _: None)
    bold = load_card(tmp_path / f"{made.written.network.card.name}.toml").card.bold
    assert bold is not None
    assert bold.cells == (3, 1, 1)
