"""Fit the matrix that takes eye artefacts out, on the clean EEG of a calibration run."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import kurtosis

from streamer.clean.eeg.ocular import OcularFit, OcularSettings
from streamer.errors import RecordingError
from streamer.messages import F64, Array, ChannelInfo

ABOVE_THE_EYES = (("Fp1", "Fpz", "Fp2"), ("AF7", "AF8", "AF3", "AFz", "AF4"))
"""Electrodes whose mean stands in for a vertical EOG: of the first group that is there."""
BESIDE_THE_EYES = (("F9", "F10"), ("F7", "F8"), ("AF7", "AF8"), ("FT7", "FT8"))
"""Pairs whose difference stands in for a horizontal EOG: the first that is there."""
FLAT_V = 0.1e-6
"""A channel whose standard deviation is below this is flat, V."""
PEAKED = 2.0
"""Excess kurtosis from which a component that goes with a stand-in is an eye's: what the brain does is near 0, blinks
and saccades are rare and large."""
MOST_SAMPLES = 15_000
"""Longer stretches are thinned to about this for the ICA: more would take minutes."""
MOST_STEPS = 100
SEED = 20


def fit_ocular(
    data: F64,
    eog: F64,
    channels: tuple[ChannelInfo, ...],
    sfreq: float,
    settings: OcularSettings,
    bad: tuple[str, ...] = (),
) -> OcularFit:
    """Fit on clean EEG: band-passed from 1 Hz, not re-referenced, free of gradient and pulse artefact.

    ``eog`` regresses the EEG on the EOG channels [1]_; ``ica`` fits MNE's extended infomax [2]_, and takes the
    components that correlate with the eyes out of the channels' own space, with one seed: the same data gives the same
    matrix on one machine.

    Parameters
    ----------
    data : ndarray, float64, shape (n_times, n_eeg)
        V; stretches may be joined.
    eog : ndarray, float64, shape (n_times, n_eog)
        V, filtered alike; ``n_eog`` may be 0 for ``ica``.
    channels : tuple of ChannelInfo
        Of the stream: those of kind ``eeg`` and ``eog`` name the columns, in this order.
    sfreq : float
        Hz.
    settings : OcularSettings
        Its method is not ``none``.
    bad : tuple of str
        Channels that are left out and pass through; flat ones are found here.

    Raises
    ------
    RecordingError
        Too little data, no EOG channel or nothing that stands in for one, too few good channels.

    References
    ----------
    .. [1] Gratton, G., Coles, M. G. H., Donchin, E. (1983). A new method for off-line removal of ocular artifact.
       Electroencephalography and Clinical Neurophysiology 55(4), 468-484. doi:10.1016/0013-4694(83)90135-9
    .. [2] Lee, T.-W., Girolami, M., Sejnowski, T. J. (1999). Independent component analysis using an extended infomax
       algorithm for mixed subgaussian and supergaussian sources. Neural Computation 11(2), 417-441.
       doi:10.1162/089976699300016719
    """
    eeg_names = tuple(c.name for c in channels if c.kind == "eeg")
    eog_names = tuple(c.name for c in channels if c.kind == "eog")
    if data.shape != (len(eog), len(eeg_names)) or eog.shape[1] != len(eog_names):
        raise ValueError(
            f"EEG of shape {data.shape} and EOG of shape {eog.shape}: expected {len(eeg_names)} and {len(eog_names)}"
            " columns, and as many rows"
        )
    seconds = len(data) / sfreq
    if seconds < settings.min_s:
        raise RecordingError(
            f"eye artefacts: {seconds:.1f} s of clean EEG in the calibration run, expected at least {settings.min_s:g}"
        )
    if not (np.isfinite(data).all() and np.isfinite(eog).all()):
        raise RecordingError("eye artefacts: the calibration run's EEG has values that are no numbers, expected none")
    data = data - data.mean(axis=0)
    eog = eog - eog.mean(axis=0)
    flat = data.std(axis=0) < FLAT_V
    good = np.array([not flat[i] and name not in bad for i, name in enumerate(eeg_names)])
    eyes = eog[:, eog.std(axis=0) >= FLAT_V]
    x = data[:, good]
    matrix = np.eye(len(eeg_names), len(eeg_names) + len(eog_names))
    inputs = (*eeg_names, *eog_names)
    if settings.method == "eog":
        if not eyes.size:
            raise RecordingError(
                f"eye artefacts: none of {len(eog_names)} EOG channels carries a signal; expected at least one for the"
                " method eog, none for ica"
            )
        shares = np.linalg.lstsq(eog, x, rcond=None)[0]
        matrix[np.ix_(good, np.arange(len(eeg_names), len(inputs)))] = -shares.T
        found: tuple[tuple[int, ...], tuple[float, ...]] = (
            tuple(range(len(eog_names))),
            tuple(float(np.abs(_correlation(e, x)).max()) for e in eog.T),
        )
        n_components = len(eog_names)
        left = x - eog @ shares
    else:
        stand_in = not eyes.size
        if stand_in:
            eyes = _stand_ins(data, eeg_names, good)
        n_components = _components(x, settings.n_components)
        operator, found = _unmix(x, eyes, sfreq, n_components, settings, least_kurtosis=PEAKED if stand_in else -np.inf)
        matrix = np.eye(len(eeg_names))
        matrix[np.ix_(good, good)] = operator
        inputs = eeg_names
        left = x @ operator.T
    return OcularFit(
        method="eog" if settings.method == "eog" else "ica",
        inputs=inputs,
        outputs=eeg_names,
        rows=tuple(map(tuple, matrix.tolist())),
        left_out=tuple(name for name, ok in zip(eeg_names, good, strict=True) if not ok),
        n_components=n_components,
        removed=found[0],
        correlations=found[1],
        explained=float(1.0 - left.var(axis=0).sum() / x.var(axis=0).sum()),
        seconds=seconds,
    )


def _correlation(one: F64, many: F64) -> F64:
    scale = one.std() * many.std(axis=0)
    return (one @ many) / len(one) / np.maximum(scale, 1e-30)


def _stand_ins(data: F64, names: tuple[str, ...], good: Array) -> F64:
    """Make eye channels from the electrodes next to the eyes."""
    at = {name.lower(): i for i, name in enumerate(names) if good[i]}
    eyes: list[F64] = []
    for group in ABOVE_THE_EYES:
        there = [at[name.lower()] for name in group if name.lower() in at]
        if there:
            eyes.append(data[:, there].mean(axis=1))
            break
    for left, right in BESIDE_THE_EYES:
        if left.lower() in at and right.lower() in at:
            eyes.append(data[:, at[right.lower()]] - data[:, at[left.lower()]])
            break
    if not eyes:
        raise RecordingError(
            f"eye artefacts: neither an EOG channel nor a good electrode near the eyes among {len(names)} channels;"
            f" expected one of {', '.join(name for group in ABOVE_THE_EYES for name in group)}, or F7 and F8"
        )
    return np.stack(eyes, axis=1)


def _components(x: F64, wanted: int) -> int:
    power = np.linalg.eigvalsh(x.T @ x)
    rank = int((power > 1e-10 * power.max()).sum()) if x.shape[1] else 0
    if rank < 3:
        raise RecordingError(
            f"eye artefacts: {x.shape[1]} good EEG channels with {rank} that are independent, expected at least 3"
        )
    return min(wanted, rank)


def _unmix(
    x: F64, eyes: F64, sfreq: float, n_components: int, settings: OcularSettings, *, least_kurtosis: float
) -> tuple[F64, tuple[tuple[int, ...], tuple[float, ...]]]:
    """Give the operator on the good channels, shape (n_good, n_good), and the removed components."""
    import mne

    n_good, n_eyes = x.shape[1], eyes.shape[1]
    info = mne.create_info(n_good + n_eyes, sfreq, ["eeg"] * n_good + ["eog"] * n_eyes, verbose="ERROR")
    raw: Any = mne.io.RawArray(np.hstack([x, eyes]).T, info, verbose="ERROR")
    most: Any = MOST_STEPS
    ica: Any = mne.preprocessing.ICA(
        n_components=n_components,
        method="infomax",
        fit_params={"extended": True},
        max_iter=most,
        random_state=SEED,
        verbose="ERROR",
    )
    ica.fit(raw, picks="eeg", decim=max(1, round(len(x) / MOST_SAMPLES)), verbose="ERROR")
    eye_names = info["ch_names"][n_good:]
    scores = ica.find_bads_eog(
        raw, ch_name=eye_names, measure="correlation", threshold=settings.correlation_min, verbose="ERROR"
    )[1]
    strength = np.abs(np.atleast_2d(scores)).max(axis=0)
    peaked = kurtosis(ica.get_sources(raw).get_data(), axis=1) >= least_kurtosis
    order = np.argsort(-strength, kind="stable")
    removed = [int(i) for i in order if strength[i] >= settings.correlation_min and peaked[i]][: settings.removed_max]
    # all EEG channels are scaled alike before the PCA, so that the scale cancels
    unmixing = ica.unmixing_matrix_[removed] @ ica.pca_components_[:n_components]
    mixing = ica.pca_components_[:n_components].T @ ica.mixing_matrix_[:, removed]
    operator = np.eye(n_good) - mixing @ unmixing
    if not np.isfinite(operator).all():
        raise RecordingError("eye artefacts: the ICA did not converge on the calibration run's EEG")
    return operator, (tuple(removed), tuple(float(strength[i]) for i in removed))
