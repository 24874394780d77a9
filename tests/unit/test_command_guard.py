from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer import wire
from streamer.emit.command_guard import MAX_NONCES, STOP_AGAIN_S, CommandGuard
from streamer.emit.command_key import command_key
from streamer.errors import FormatError, UsageError
from streamer.messages import Command, SessionTime
from streamer.wire.folder import COMMAND_KEY

KEY = b"0123456789abcdef0123456789abcdef"
NOW = SessionTime(5000.0)


def guard(key: bytes | None = KEY) -> CommandGuard:
    return CommandGuard("s", key, SessionTime(4000.0))


def plain(**fields: object) -> bytes:
    return json.dumps({"kind": "command", **fields}).encode()


def signed(**change: object) -> bytes:
    fields = json.loads(wire.signed_command(KEY, "s", "arm", "", NOW))
    return json.dumps({name: value for name, value in (fields | change).items() if value is not None}).encode()


def test_anybody_may_stop_and_what_they_write_goes_nowhere() -> None:
    for each in (guard(), guard(None)):
        found = each.take(plain(action="stop", text="Jane Doe"), NOW)
        assert found == Command("stop", "over MQTT, unsigned", NOW)
        assert not each.refused


@pytest.mark.parametrize("action", ["arm", "annotate", "recentre", "end", "stop"])
def test_a_signed_command_counts_once(action: str) -> None:
    each = guard()
    payload = wire.signed_command(KEY, "s", action, "why", NOW)
    assert each.take(payload, NOW) == Command(action, "why", NOW)
    assert each.take(payload, SessionTime(NOW + 1)) is None
    assert each.refused == {"repeated": 1}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (plain(action="arm"), "unsigned"),
        (plain(action="end"), "unsigned"),
        (signed(action="end"), "wrong signature"),
        (signed(mac=None), "unsigned"),
        (signed(nonce=None), "unsigned"),
        (signed(at=None), "unsigned"),
        (signed(mac="0" * 64), "wrong signature"),
        (signed(text="x"), "wrong signature"),
        (signed(action="annotate"), "wrong signature"),
        (signed(at=NOW + 0.001), "wrong signature"),
        (signed(nonce="n" * 32), "wrong signature"),
        (signed(session="other"), "for another session"),
        (plain(action="stop", session="other"), "for another session"),
        (wire.signed_command(KEY, "other", "arm", "", NOW).replace(b'"session":"other",', b""), "wrong signature"),
        (wire.signed_command(b"another key of 16", "s", "arm", "", NOW), "wrong signature"),
        (wire.signed_command(KEY, "s", "arm", "", NOW - 30.1), "wrong time"),
        (wire.signed_command(KEY, "s", "arm", "", NOW + 30.1), "wrong time"),
        (plain(action="stop", more=1), "malformed"),
        (plain(action="stop", text="a\nb"), "malformed"),
        (plain(action="stop", text="a\n"), "malformed"),
        (plain(action="stop", nonce="0123456789abcdef\n"), "malformed"),
        (plain(action="stop", text="x" * 501), "malformed"),
        (plain(action="stop", schema=wire.SCHEMA + 1), "malformed"),
        (plain(action="explode"), "malformed"),
        (plain(action="stop", text=" " * 5000), "malformed"),
        (b" " * 5000 + plain(action="stop"), "malformed"),
        (b'{"kind":"command"' + b',"at":[' * 600, "malformed"),
        (b'{"kind":"command","action":"stop","text":"\\ud800"}', "malformed"),
        (b"", "malformed"),
    ],
)
def test_what_does_not_count(payload: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    each = guard()
    with caplog.at_level(logging.WARNING):
        assert each.take(payload, NOW) is None
    assert each.refused == {reason: 1}
    assert caplog.messages == [f"command over MQTT refused, {reason} (1 so far)"]


def test_without_a_key_nothing_signed_counts() -> None:
    each = guard(None)
    assert each.take(wire.signed_command(KEY, "s", "arm", "", NOW), NOW) is None
    assert each.refused == {"no key": 1}


def test_what_an_earlier_life_of_the_session_heard_is_not_heard_again() -> None:
    payload = wire.signed_command(KEY, "s", "arm", "", NOW)
    assert guard().take(payload, NOW) is not None
    reborn = CommandGuard("s", KEY, SessionTime(NOW + 5))
    assert reborn.take(payload, SessionTime(NOW + 6)) is None
    assert reborn.refused == {"from before the session": 1}


def test_a_flood_of_stops_stops_and_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    each, stop = guard(), plain(action="stop")
    taken = [each.take(stop, SessionTime(NOW + k / 1000)) for k in range(1000)]
    assert taken[0] is not None
    assert sum(t is not None for t in taken) == round(1.0 / STOP_AGAIN_S)
    assert len(caplog.messages) == 3
    # whoever armed in between can still be stopped at once
    later = SessionTime(NOW + 10)
    assert each.take(stop, later) is not None
    assert each.take(wire.signed_command(KEY, "s", "arm", "", later), later) is not None
    assert each.take(stop, later) is not None


def test_nonces_are_forgotten_only_when_their_time_is_refused() -> None:
    each = guard()
    old = wire.signed_command(KEY, "s", "annotate", "", NOW + 29)
    assert each.take(old, NOW) is not None
    for k in range(MAX_NONCES - 1):
        assert each.take(wire.signed_command(KEY, "s", "annotate", "", NOW), NOW) is not None, k
    assert each.take(wire.signed_command(KEY, "s", "annotate", "", NOW), NOW) is None
    assert each.refused == {"too many": 1}
    assert each.take(old, SessionTime(NOW + 58)) is None
    assert each.refused == {"too many": 1, "repeated": 1}
    later = SessionTime(NOW + 61)
    assert each.take(wire.signed_command(KEY, "s", "annotate", "", later), later) is not None
    assert each.take(old, later) is None
    assert each.refused["wrong time"] == 1


def test_the_signature_is_the_one_that_the_documentation_describes() -> None:
    fields = json.loads(wire.signed_command(KEY, "2026-7", "annotate", "hé", 1234.5))
    made = subprocess.run(
        ["sh", "-c", r"""printf 'eegfmri-command-1\0%s\0%s\0%s\0%s\0%s' "$@" | openssl dgst -sha256 -hmac "$KEY" """,
         "sh", "2026-7", "annotate", "hé", "1234.500", fields["nonce"]],
        capture_output=True, check=True, text=True, env={**os.environ, "KEY": KEY.decode()},
    )  # fmt: skip
    assert made.stdout.split()[-1] == fields["mac"]


def test_what_a_session_would_not_take_is_not_signed() -> None:
    for session, action, text in (("s", "explode", ""), ("s", "annotate", "a\0b"), ("s", "annotate", "x" * 501)):
        with pytest.raises(FormatError):
            wire.signed_command(KEY, session, action, text, NOW)


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80)
FIELDS = st.dictionaries(
    st.sampled_from(["kind", "action", "text", "session", "at", "nonce", "mac", "schema", "x"]),
    VALUES | st.sampled_from(["command", "stop", "arm", "s", "0" * 64]),
)


@given(FIELDS.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=200))
def test_whatever_comes_nothing_unsigned_but_stop_counts(payload: bytes) -> None:
    each = guard()
    found = each.take(payload, NOW)
    assert found is None or found.action == "stop"
    assert (found is None) == (sum(each.refused.values()) == 1)


def test_a_drawn_key_is_its_owners_alone_and_goes_with_the_session(tmp_path: Path) -> None:
    (tmp_path / COMMAND_KEY).write_text("of a session that was killed")
    (tmp_path / COMMAND_KEY).chmod(0o644)
    with command_key("", tmp_path) as key:
        assert (tmp_path / COMMAND_KEY).read_bytes() == key
        assert len(key) == 64
        assert stat.S_IMODE((tmp_path / COMMAND_KEY).stat().st_mode) == 0o600
    assert not (tmp_path / COMMAND_KEY).exists()
    with command_key("", tmp_path) as other:
        assert other != key


def test_a_key_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KEY", KEY.decode())
    with command_key("LAB_KEY", tmp_path) as key:
        assert key == KEY
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("LAB_KEY", "short")
    for name in ("LAB_KEY", "UNHEARD_OF"):
        with pytest.raises(UsageError, match="16 or more"), command_key(name, tmp_path):
            pass
