"""The network as it is served: its carried state against whole windows, and what it does when something is missing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.model_card import Doubt
from streamer.decode.network_model import NetworkModel
from streamer.decode.onnx_session import CPU, CUDA, start_session
from streamer.errors import ModelError
from streamer.messages import Flag, SessionTime, Window
from tests.unit.served_files import (
    BOLD_STEPS,
    EEG_TOKEN,
    N_FEATURES,
    N_REGIONS,
    N_STEPS,
    bold_graph,
    checked,
    eeg_graph,
    head_graph,
    network,
    whole_graph,
)

OTHER = "AzureExecutionProvider"
"""Comes with ONNX Runtime beside the processor's, and leaves all to it: stands for one that can be lost."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return network(tmp_path_factory.mktemp("network"))


def cut(seed=0, **changes):
    rng = np.random.default_rng(seed)
    window = Window(
        seq=7,
        start=SessionTime(96.0),
        end=SessionTime(100.0),
        eeg=rng.standard_normal((N_STEPS, N_FEATURES)).astype(np.float32),
        bold=rng.standard_normal((BOLD_STEPS, N_REGIONS)).astype(np.float32),
        age_eeg=0.05,
        age_bold=2.5,
        eeg_valid=True,
        bold_valid=True,
    )
    return replace(window, **changes)


def plain(content):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(content, options, providers=[CPU])


def eeg_steps(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, N_FEATURES)).astype(np.float32)


def scores(prediction):
    return replace(prediction, seq=0)


@pytest.mark.parametrize("content", [eeg_graph(), bold_graph(), head_graph(), head_graph(half=True), whole_graph()])
def test_the_graphs_under_test_are_onnx(content):
    assert checked(content).ir_version == 10


def test_a_window_gives_what_its_graphs_give_one_by_one(loaded):
    window = cut()
    (eeg,) = plain(whole_graph()).run(["token"], {"eeg": window.eeg[None]})
    (bold,) = plain(bold_graph()).run(["token"], {"bold": window.bold[None]})
    feed = {
        "eeg_token": eeg,
        "bold_token": bold,
        "age": np.array([[0.05, 2.5]], np.float32),
        "valid": np.ones((1, 2), np.float32),
    }
    logits, attention = plain(head_graph()).run(["logits", "attention"], feed)
    members = np.exp(logits[0].astype(np.float64) / 1.5)
    members /= members.sum(axis=1, keepdims=True)
    prediction = NetworkModel(loaded)(window)
    assert prediction.probabilities == pytest.approx(members.mean(axis=0).tolist(), abs=1e-5)
    assert prediction.attention == {"eeg": attention[0, 0], "bold": attention[0, 1]}
    mean = members.mean(axis=0)
    split = -(mean * np.log(mean)).sum() + (members * np.log(members)).sum() / 2
    assert prediction.disagreement == pytest.approx(split, abs=1e-5)
    assert prediction.disagreement > 0
    assert prediction.model == f"test-network@{loaded.sha256[:12]}"
    assert (prediction.seq, prediction.about, prediction.classes) == (7, 100.0, ("rest", "task"))


@st.composite
def sequences(draw):
    """Ticks of a session: which steps each window ends with, and whether the EEG counts."""
    phases = draw(st.integers(1, 3))
    ticks = []
    at = N_STEPS * phases
    for _ in range(draw(st.integers(2, 40))):
        kind = draw(st.sampled_from(["next"] * 8 + ["skip", "gap", "masked", "same", "back"]))
        at += {"next": 1, "skip": phases + 1, "gap": 5 * N_STEPS * phases, "masked": 1, "same": 0, "back": -1}[kind]
        at = max(at, N_STEPS * phases)
        ticks.append((at, kind == "masked"))
    return phases, ticks, draw(st.sampled_from([0, 1, 2])), draw(st.booleans())


@settings(max_examples=25, deadline=None)
@given(sequences())
def test_a_carried_token_is_bit_equal_to_a_recomputed_one(loaded, sequence):
    phases, ticks, seed, rebased = sequence
    fine = eeg_steps(max(at for at, _ in ticks) + 1, seed)
    model = NetworkModel(loaded, "cpu")
    for k, (at, masked) in enumerate(ticks):
        eeg = fine[at - N_STEPS * phases + phases : at + 1 : phases]
        # another baseline half-way changes every step, also those seen before
        eeg = eeg + np.float32(0.5) if rebased and 2 * k > len(ticks) else eeg
        window = cut(eeg=eeg, eeg_valid=not masked)
        anew = NetworkModel(loaded, "cpu")
        assert model(window) == anew(window)
        if not masked:
            np.testing.assert_array_equal(
                model.parts.eeg(eeg).view(np.uint32), anew.parts.eeg(eeg).view(np.uint32), strict=True
            )


@pytest.mark.parametrize("phases", [1, 2, 3])
def test_only_the_newest_step_is_computed(loaded, phases):
    model = NetworkModel(loaded)
    fine = eeg_steps(phases * (N_STEPS + 20))
    whole = plain(whole_graph())
    calls = []
    for at in range(N_STEPS * phases, len(fine)):
        eeg = fine[at - N_STEPS * phases + phases : at + 1 : phases]
        before = model.parts.eeg.calls
        model(cut(eeg=eeg))
        calls.append(model.parts.eeg.calls - before)
        (token,) = whole.run(["token"], {"eeg": eeg[None]})
        np.testing.assert_allclose(model.parts.eeg(eeg), token[0], atol=1e-6)
    assert calls == [N_STEPS] * phases + [1] * (len(calls) - phases)


def test_a_window_that_comes_again_or_leaps_costs_what_is_new(loaded):
    model = NetworkModel(loaded)
    fine = eeg_steps(40)
    found = []
    for end in (10, 10, 11, 13, 13 + N_STEPS, 12):
        before = model.parts.eeg.calls
        model(cut(eeg=fine[end - N_STEPS : end]))
        found.append(model.parts.eeg.calls - before)
    assert found == [N_STEPS, 0, 1, 2, N_STEPS, N_STEPS]


def test_more_grids_than_are_followed_are_computed_anew(loaded):
    model = NetworkModel(loaded)
    windows = [cut(seed) for seed in range(20)]
    first = [model(window) for window in windows]
    assert [model(window) for window in windows] == first
    assert model.parts.eeg.calls == 2 * 20 * N_STEPS
    model(windows[-1])
    assert model.parts.eeg.calls == 2 * 20 * N_STEPS


def test_zero_and_minus_zero_are_not_the_same_step(loaded):
    model = NetworkModel(loaded)
    eeg = cut().eeg.copy()
    eeg[2, 3] = 0.0
    model(cut(eeg=eeg))
    eeg[2, 3] = -0.0
    model(cut(eeg=eeg))
    assert model.parts.eeg.calls == 2 * N_STEPS


def test_the_bold_encoder_runs_when_the_bold_changed(loaded):
    model = NetworkModel(loaded)
    for seed in (1, 1, 1, 2, 2):
        model(cut(seed, eeg=cut(9).eeg))
    assert model.parts.bold.calls == 2
    model(cut(2, bold_valid=False))
    assert model.parts.bold.calls == 2


def test_earlier_windows_leave_no_trace(loaded):
    model = NetworkModel(loaded)
    first = model(cut(1))
    model(cut(2, bold_valid=False))
    model.warm_up()
    assert model(cut(1)) == first == NetworkModel(loaded)(cut(1))
    assert NetworkModel(loaded).parts.eeg.calls == 0


def test_the_window_may_change_after_it_was_seen(loaded):
    model = NetworkModel(loaded)
    window = cut(1)
    first = model(window)
    window.eeg[:] = 0
    window.bold[:] = 0
    assert model(cut(1)) == first
    assert model(window) == NetworkModel(loaded)(window) != first


def test_a_masked_modality_does_not_matter_and_is_flagged(loaded):
    model = NetworkModel(loaded)
    masked = cut(bold_valid=False, age_bold=math.inf)
    first, second = model(masked), model(replace(masked, bold=np.full((BOLD_STEPS, N_REGIONS), 9, np.float32)))
    assert first == second
    assert first.flags == Flag.NO_BOLD
    assert first.attention == {"eeg": 1.0, "bold": 0.0}
    alone = model(cut(eeg_valid=False))
    assert alone.flags == Flag.NO_EEG
    assert alone.attention == {"eeg": 0.0, "bold": 1.0}


@pytest.mark.parametrize("junk", [math.nan, math.inf])
def test_a_number_that_is_not_finite_masks_its_modality(loaded, junk):
    model = NetworkModel(loaded)
    model(cut(1))
    eeg = cut().eeg.copy()
    eeg[3, 4] = junk
    assert model(cut(eeg=eeg)) == model(cut(eeg_valid=False))
    assert model.unusable == 1
    assert model(cut(1)) == NetworkModel(loaded)(cut(1))


def test_an_output_that_is_not_finite_is_no_judgement(tmp_path):
    loaded = network(tmp_path)
    model = NetworkModel(loaded)
    # the products overflow in the head
    model.parts.bold._token.host[...] = np.nan
    window = cut()
    model.parts.bold._bold.host[0], model.parts.bold._seen = window.bold, True
    prediction = model(window)
    assert prediction.probabilities == (0.5, 0.5)
    assert (prediction.uncertainty, prediction.attention) == (1.0, {"eeg": 0.0, "bold": 0.0})
    assert prediction.flags == Flag.NO_EEG | Flag.NO_BOLD | Flag.ABSTAINED
    assert model.unusable == 1
    assert model(cut(3)) == NetworkModel(loaded)(cut(3))


def test_a_modality_that_the_model_has_not_is_neither_asked_nor_missed(tmp_path):
    eeg = NetworkModel(network(tmp_path / "e", bold=False))
    bold = NetworkModel(network(tmp_path / "b", eeg=False))
    for model in (eeg, bold):
        model.warm_up()
    no_bold = cut(bold=np.zeros((3, 0), np.float32), bold_valid=False)
    assert eeg(no_bold).flags == Flag.NONE
    assert eeg(no_bold).attention == {"eeg": 1.0, "bold": 0.0}
    assert eeg(cut(eeg_valid=False)).flags == Flag.NO_EEG | Flag.ABSTAINED
    no_eeg = cut(eeg=np.zeros((3, 0), np.float32), eeg_valid=False)
    assert bold(no_eeg).attention == {"eeg": 0.0, "bold": 1.0}
    assert bold(no_eeg).flags == Flag.NONE
    assert (eeg.parts.bold, bold.parts.eeg) == (None, None)


def test_many_classes_and_members_are_served(tmp_path):
    classes = ("rest", "left", "right", "both")
    doubt = Doubt(quantile={"both": 0.9, "eeg": 0.0, "bold": 0.5})
    model = NetworkModel(network(tmp_path, classes=classes, members=5, doubt=doubt))
    prediction = model(cut())
    assert len(prediction.probabilities) == 4
    assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-12)
    wanted = tuple(n for n, p in zip(classes, prediction.probabilities, strict=True) if p >= 0.1)
    assert prediction.candidates == wanted
    assert bool(prediction.flags & Flag.ABSTAINED) == (len(wanted) != 1)
    assert model(cut(bold_valid=False)).candidates == ()
    assert model(cut(bold_valid=False)).flags == Flag.NO_BOLD | Flag.ABSTAINED


def test_half_precision_is_served_as_it_is(tmp_path):
    half = NetworkModel(network(tmp_path / "half", half=True, precision="fp16"))(cut())
    full = NetworkModel(network(tmp_path / "full"))(cut())
    assert half.probabilities == pytest.approx(full.probabilities, abs=5e-3)
    assert half.probabilities != full.probabilities


def test_a_window_of_another_shape_is_refused(loaded):
    with pytest.raises(ModelError, match=r"EEG has shape \(6, 7\).*takes \(6, 8\)"):
        NetworkModel(loaded)(cut(eeg=np.zeros((N_STEPS, 7), np.float32)))


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ({"eeg": eeg_graph(state_out=9)}, "state_out is 9 wide: expected 14"),
        ({"head": head_graph(eeg=EEG_TOKEN + 1)}, "head's eeg_token is 6 wide: expected 5"),
        ({"head": head_graph(bold=1)}, "head's bold_token is 1 wide: expected 4"),
        ({"head": head_graph(members=3)}, r"logits is .*3, 2\).*expected output \(any, 2, 2\)"),
        ({"head": head_graph(classes=3)}, r"logits is .*2, 3\).*expected output \(any, 2, 2\)"),
        ({"eeg": eeg_graph(batch=1)}, r"step is \(1, 8\).*expected input \(any, 8\)"),
        ({"eeg": bold_graph()}, "step is absent.*bold is not known"),
        ({"bold": b"no graph"}, "no provider of ONNX Runtime"),
        ({"bold": b""}, "no provider of ONNX Runtime"),
        ({"bold": bold_graph()[:-40]}, "no provider of ONNX Runtime"),
        ({"eeg": eeg_graph(opset=99)}, "(?i)opset"),
    ],
)
def test_graphs_that_are_not_what_the_card_says_are_refused(tmp_path, graphs, message):
    with pytest.raises(ModelError, match=message):
        NetworkModel(network(tmp_path, graphs=graphs))


def test_a_graph_that_is_swapped_after_the_check_is_refused(tmp_path):
    own = network(tmp_path)
    path = tmp_path / own.card.graphs["bold"].file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="it was altered"):
        NetworkModel(own)


class Fails:
    """A real session of which the ``after``-th run and all later ones fail, as on a GPU that is lost."""

    def __init__(self, session, left):
        self._session, self._left = session, left

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run_with_iobinding(self, binding, options=None):
        self._left[0] -= 1
        if self._left[0] < 0:
            raise RuntimeError("CUDA failure 719: unspecified launch failure\n at some place")
        self._session.run_with_iobinding(binding, options)


def losing(left):
    """Give what starts sessions of which those beside the processor's fail once ``left`` runs are used up."""

    def start(graph, provider, options):
        session = start_session(graph, provider, options)
        return session if provider == CPU else Fails(session, left)

    return start


@pytest.mark.skipif(OTHER not in ort.get_available_providers(), reason="no second provider in this ONNX Runtime")
@pytest.mark.parametrize("runs", [0, 1, 3, 20, 26, 33])
def test_a_session_lost_in_mid_run_moves_all_graphs_to_the_processor(loaded, runs):
    left = [10_000]
    model = NetworkModel(loaded, (OTHER,), losing(left))
    assert (model.provider, model.notes) == (OTHER, ())
    model.warm_up()
    left[0] = runs
    fine = eeg_steps(60)
    healthy = NetworkModel(loaded, "cpu")
    for at in range(40):
        window = cut(at // 7, eeg=fine[at : at + N_STEPS])
        assert scores(model(window)) == scores(healthy(window))
    assert model.provider == CPU
    note = f"{OTHER} failed in mid-run: CUDA failure 719: unspecified launch failure; {CPU} took its place"
    assert model.notes == (note,)
    assert {s.get_providers()[0] for s in model._sessions._sessions.values()} == {CPU}
    assert left[0] == -1


def test_a_processor_that_fails_ends_it_in_words(loaded):
    left = [20]
    model = NetworkModel(loaded, "cpu", lambda *how: Fails(start_session(*how), left))
    model(cut(1))
    with pytest.raises(ModelError, match=f"{CPU} failed in mid-run: CUDA failure 719"):
        [model(cut(seed)) for seed in range(20)]


def test_a_provider_that_is_not_there_is_told(loaded):
    if CUDA in ort.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    model = NetworkModel(loaded, "cuda")
    assert model.provider == CPU
    assert model.notes == (f"{CUDA} is not in this ONNX Runtime",)


def test_a_question_aside_is_answered_alike_and_touches_nothing_that_is_carried(loaded):
    steps = eeg_steps(60)
    asked, left_alone = NetworkModel(loaded), NetworkModel(loaded)
    for k in range(60 - N_STEPS):
        window = cut(eeg=steps[k : k + N_STEPS])
        calls = asked.parts.eeg.calls if asked.parts.eeg is not None else 0
        aside = asked.aside(window)
        assert asked.parts.eeg is not None
        assert asked.parts.eeg.calls == calls
        prediction = asked(window)
        assert aside.probabilities == pytest.approx(prediction.probabilities, abs=2e-5)
        assert prediction == left_alone(window)
