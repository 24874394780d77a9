"""Fit what a participant can use on the day: a card of a score, a small classifier or a network's head."""

from __future__ import annotations

from typing import Literal

Fit = Literal["auto", "score", "linear", "head"]
"""What is fitted: the weights of the score, a shrinkage LDA, the temperatures of a network; ``auto`` takes the best."""
