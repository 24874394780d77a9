"""Where the electrodes of the 10-10 system are, on a unit sphere."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from streamer.messages import F64

# angle on the midline arc from the vertex (front positive) and angle of the row's end on the ring, degrees
_ROWS = {
    "FP": (72, 18), "AF": (54, 36), "F": (36, 54), "FC": (18, 72), "FT": (18, 72), "C": (0, 90), "T": (0, 90),
    "CP": (-18, 108), "TP": (-18, 108), "P": (-36, 126), "PO": (-54, 144), "O": (-72, 162),
}  # fmt: skip
_RING = np.deg2rad(72.0)
# other names of the same places; the mastoids lie closest to TP9 and TP10
_ALIASES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8", "M1": "TP9", "M2": "TP10"}
_POLES = {"NZ": 1.0, "IZ": -1.0}


def electrode_position(name: str) -> F64:
    """Place an electrode on the unit sphere, x to the right, y to the front, z up.

    Parameters
    ----------
    name : str
        Of the 10-10 system [1]_, in any case; ``T3``, ``T4``, ``T5``, ``T6``, ``M1`` and ``M2`` are known too.

    Returns
    -------
    ndarray, float64, shape (3,)

    Raises
    ------
    ValueError
        If there is no such electrode.

    References
    ----------
    .. [1] Oostenveld, R., Praamstra, P. (2001). The five percent electrode system for high-resolution EEG and ERP
       measurements. Clinical Neurophysiology 112:713-719. doi:10.1016/S1388-2457(00)00527-7
    """
    upper = name.strip().upper()
    upper = _ALIASES.get(upper, upper)
    if upper in _POLES:
        return np.array([0.0, _POLES[upper], 0.0])
    match = re.fullmatch(r"([A-Z]+?)(Z|[1-9]|10)", upper)
    short = match is not None and match[1] in {"FP", "O"}
    if match is None or match[1] not in _ROWS or (short and match[2] not in {"Z", "1", "2"}):
        raise ValueError(f"electrode {name!r}: expected a name of the 10-10 system, such as Fz, C3 or TP10")
    midline, ring = np.deg2rad(_ROWS[match[1]])
    middle = np.array([0.0, np.sin(midline), np.cos(midline)])
    if match[2] == "Z":
        return middle
    number = int(match[2])
    side = -1.0 if number % 2 else 1.0
    end = np.array([side * np.sin(ring) * np.sin(_RING), np.cos(ring) * np.sin(_RING), np.cos(_RING)])
    if short:
        return end
    # along the great circle from the midline through the ring; 9 and 10 lie beyond it
    along = ((number + 1) // 2) / 4.0
    angle = np.arccos(np.clip(middle @ end, -1.0, 1.0))
    across = end - middle * np.cos(angle)
    across /= np.linalg.norm(across)
    return middle * np.cos(along * angle) + across * np.sin(along * angle)


def electrode_positions(names: Iterable[str]) -> F64:
    """Place electrodes, shape (n, 3); NaN for those whose names are none of the 10-10 system."""
    places: list[F64] = []
    for name in names:
        try:
            places.append(electrode_position(name))
        except ValueError:
            places.append(np.full(3, np.nan))
    return np.array(places).reshape(-1, 3)
