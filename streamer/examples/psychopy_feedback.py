"""Feedback in PsychoPy: a thermometer that follows the score, and a reward for each trigger.

Run it in PsychoPy's Python, which has pylsl, on the stimulus computer: ``python psychopy_feedback.py [SESSION]``.
Escape ends it.

``Feedback`` decides what is shown and when something is done; it knows nothing of PsychoPy. What it takes care of,
and what any program that takes these streams must take care of as well:

- A score is shown only until its deadline; after that, and whenever it says so, the neutral level is.
- A trigger that comes twice is acted on once, and one that is older than the newest is not acted on.
- A trigger is acted on at its time stamp, not before, and not after its deadline.
- When the session is stopped or its program stands still, triggers that wait for their time are forgotten.
- Time stamps are put on this computer's LSL clock, whichever computer they come from.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

import pylsl

SCORES = "NeurofeedbackScore"
TRIGGERS = "NeurofeedbackTriggers"
SILENT = 2.0
"""In the channel ``neutral``: stopped, or the program at the other end stands still."""
NEVER = (0.0, -1.0)
"""A level, and until when it may be shown, s."""
REWARD_S = 0.5


@dataclass(frozen=True)
class Reward:
    """A trigger that is due."""

    seq: int
    action: str
    level: float
    """0..1."""
    fire_at: float
    """s, this computer's LSL clock."""
    expires: float
    """s, this computer's LSL clock."""


@dataclass(frozen=True)
class Frame:
    """What to do for one frame of the screen."""

    level: float
    """0..1: where the thermometer stands; the neutral level where ``neutral``."""
    neutral: bool
    rewards: tuple[Reward, ...]
    """What is to be acted on now."""


class Feedback:
    """What the streams say, made safe to act on.

    Parameters
    ----------
    session : str
        Name of the session; empty for the only one that there is.
    timeout : float
        How long to look for its streams, s.

    Raises
    ------
    LookupError
        There is no such session, or more than one, or its streams are not those of the streamer.
    """

    def __init__(self, session: str = "", timeout: float = 10.0) -> None:
        self._scores = _inlet(SCORES, f"{session}-score" if session else "", timeout)
        self._triggers = _inlet(TRIGGERS, f"{session}-triggers" if session else "", timeout)
        info = self._scores.info(timeout)
        labels = info.get_channel_labels() or []
        try:
            self.neutral_level = float(info.desc().child_value("neutral_level"))
            self._level, self._neutral, self._valid = map(labels.index, ("level", "neutral", "valid_s"))
        except ValueError as error:
            self.close()
            raise LookupError(f"{SCORES} has the channels {labels}: expected level, neutral, valid_s") from error
        self._shown = NEVER
        self._silent = False
        self._waiting: list[Reward] = []
        self._newest = -1

    def frame(self, now: float) -> Frame:
        """Take what has come and tell what to do.

        Parameters
        ----------
        now : float
            When the frame will be seen: ``pylsl.local_clock()``, s.
        """
        # triggers first: what the newest score says of stopping counts for them too
        self._take_triggers()
        self._take_scores()
        due = tuple(each for each in self._waiting if each.fire_at <= now <= each.expires)
        self._waiting = [each for each in self._waiting if now < each.fire_at]
        level, until = self._shown
        neutral = not now <= until
        return Frame(self.neutral_level if neutral else level, neutral, due)

    def close(self) -> None:
        """End the streams."""
        self._scores.close_stream()
        self._triggers.close_stream()

    def _take_scores(self) -> None:
        samples, stamps = self._scores.pull_chunk(timeout=0.0)
        for sample, stamp in zip(samples or (), stamps, strict=True):
            state = sample[self._neutral]
            self._silent = state == SILENT
            # NaN is neutral, too
            self._shown = (sample[self._level], stamp + sample[self._valid]) if state == 0.0 else NEVER
        if self._silent:
            self._waiting.clear()

    def _take_triggers(self) -> None:
        while True:
            sample, stamp = self._triggers.pull_sample(timeout=0.0)
            if sample is None or stamp is None:
                return
            try:
                reward = _reward(json.loads(sample[0]), stamp)
            except (KeyError, TypeError, ValueError):
                # whoever sends on this network may send anything: what is no trigger must not end the session
                continue
            if reward.seq > self._newest:
                self._newest = reward.seq
                self._waiting.append(reward)


def _reward(trigger: dict[str, Any], stamp: float) -> Reward:
    # the stamp is fire_at; the deadline is as far from it on any clock
    lasts = float(trigger["expires"]) - float(trigger["fire_at"])
    return Reward(int(trigger["seq"]), str(trigger["action"]), float(trigger["level"]), stamp, stamp + lasts)


def _inlet(name: str, source_id: str, timeout: float) -> pylsl.StreamInlet:
    key, value = ("source_id", source_id) if source_id else ("name", name)
    found = pylsl.resolve_byprop(key, value, timeout=timeout)
    if len(found) != 1:
        raise LookupError(f"{len(found)} streams {name} with {key} {value!r}: expected one; name the session")
    inlet = pylsl.StreamInlet(found[0], processing_flags=pylsl.proc_clocksync)
    inlet.open_stream(timeout=timeout)
    return inlet


def main(session: str) -> None:
    """Draw until Escape is pressed."""
    from psychopy import event, visual  # pyright: ignore[reportMissingImports]

    feedback = Feedback(session)
    window = visual.Window(fullscr=True, units="height", color="black")
    tube = visual.Rect(window, width=0.1, height=0.8, lineColor="white", fillColor=None)
    bar = visual.Rect(window, width=0.1, height=0.0)
    star = visual.TextStim(window, text="★", color="gold", height=0.2, pos=(0.3, 0.0))
    frame_s = 1.0 / (window.getActualFrameRate() or 60.0)
    star_until = 0.0
    while not event.getKeys(["escape"]):
        # what is drawn now is seen at the next refresh
        now = pylsl.local_clock() + frame_s
        frame = feedback.frame(now)
        if frame.rewards:
            star_until = now + REWARD_S
        bar.height = 0.8 * frame.level
        bar.pos = (0.0, -0.4 + bar.height / 2)
        bar.fillColor = "grey" if frame.neutral else "green"
        for thing in (bar, tube, *([star] if now < star_until else [])):
            thing.draw()
        window.flip()
    window.close()
    feedback.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
