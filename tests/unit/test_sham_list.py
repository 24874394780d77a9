"""A sealed list: balanced, telling nothing without its key, and noticing every change."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.sham import CONDITIONS
from streamer.errors import FormatError, UsageError
from streamer.sham_list import (
    KEY_ENV,
    SealedList,
    entry_alone,
    is_balanced,
    make_key,
    make_list,
    note_opening,
    open_entry,
    open_list,
    openings,
    parse_ratio,
    read_key,
    read_list,
    write_list,
)

KEY = b"k" * 32
RATIO = {"real": 1, "yoked": 1}


@settings(max_examples=25, deadline=None)
@given(
    shares=st.dictionaries(st.sampled_from(CONDITIONS), st.integers(1, 3), min_size=2, max_size=4),
    blocks=st.integers(1, 20),
    seed=st.integers(0, 2**63),
)
def test_conditions_have_their_shares_all_along(shares: dict[str, int], blocks: int, seed: int) -> None:
    size = sum(shares.values())
    sealed = make_list(blocks * size, shares, seed, KEY)
    order = list(open_list(sealed, KEY).values())
    assert Counter(order) == {name: blocks * share for name, share in shares.items()}
    assert is_balanced(sealed, KEY)
    # two blocks may be dealt as one
    for k in range(0, len(order) + 1, size):
        counts = Counter(order[:k])
        assert all(abs(counts[name] - k // size * share) <= share for name, share in shares.items())


def test_blocks_are_not_of_one_length() -> None:
    order = list(open_list(make_list(400, RATIO, 5, KEY), KEY).values())
    pairs = [order[k] == order[k + 1] for k in range(0, 400, 2)]
    # in blocks of two, who knows one of a pair knows the other
    assert 20 < sum(pairs) < 120


def test_the_seed_decides_together_with_the_key() -> None:
    one = open_list(make_list(40, RATIO, 7, KEY), KEY)
    assert open_list(make_list(40, RATIO, 7, KEY), KEY) == one
    assert open_list(make_list(40, RATIO, 8, KEY), KEY) != one
    other = b"o" * 32
    assert open_list(make_list(40, RATIO, 7, other), other) != one


def test_a_list_tells_nothing_without_its_key(tmp_path: Path) -> None:
    sealed = make_list(200, {"real": 1, "scrambled": 1}, 7, KEY)
    again = make_list(200, {"real": 1, "scrambled": 1}, 7, KEY)
    assert {len(entry) for entry in sealed.entries.values()} == {128}
    assert len({entry[:64] for entry in [*sealed.entries.values(), *again.entries.values()]}) == 400
    conditions = open_list(sealed, KEY)
    # no bit of what is hidden goes with the condition
    for bit in range(0, 256, 5):
        ones = Counter(conditions[c] for c, e in sealed.entries.items() if int(e[:64], 16) >> bit & 1)
        assert abs(ones["real"] - ones["scrambled"]) < 50
    write_list(tmp_path / "a.json", sealed)
    text = (tmp_path / "a.json").read_text()
    assert text.count("real") == text.count("scrambled") == 1


@pytest.mark.parametrize("change", ["entry", "tag", "swap", "id", "seed", "ratio", "key"])
def test_every_change_is_noticed(change: str) -> None:
    sealed = make_list(8, RATIO, 7, KEY)
    entries, key = dict(sealed.entries), KEY
    match change:
        case "entry":
            entries["P03"] = ("0" if entries["P03"][0] != "0" else "1") + entries["P03"][1:]
        case "tag":
            entries["P03"] = entries["P03"][:-1] + ("0" if entries["P03"][-1] != "0" else "1")
        case "swap":
            entries["P03"], entries["P04"] = entries["P04"], entries["P03"]
        case "key":
            key = b"other key, long enough"
        case _:
            pass
    new = {"id": "00" * 16, "seed": 8, "ratio": {"real": 2, "yoked": 2}}
    update = {change: new[change]} if change in new else {}
    altered = msgspec.structs.replace(sealed, entries=entries, **update)
    with pytest.raises(FormatError, match="was altered, or the key is not the list's") as error:
        open_entry(altered, "P03", key)
    assert "yoked" not in str(error.value)
    assert "real" not in str(error.value)


def test_entries_that_went_missing_are_noticed() -> None:
    sealed = make_list(8, RATIO, 7, KEY)
    left = dict(sealed.entries)
    left.popitem()
    assert not is_balanced(msgspec.structs.replace(sealed, entries=left), KEY)


def test_one_entry_alone_opens_as_in_the_whole_list() -> None:
    sealed = make_list(8, RATIO, 7, KEY)
    alone = entry_alone(sealed, "P05")
    assert list(alone.entries) == ["P05"]
    assert open_entry(alone, "P05", KEY) == open_entry(sealed, "P05", KEY)
    with pytest.raises(UsageError, match="'P06' is not in the list"):
        open_entry(alone, "P06", KEY)


def test_everyone_draws_anew() -> None:
    sealed = make_list(8, RATIO, 7, KEY)
    assert len({open_entry(sealed, code, KEY).seed for code in sealed.entries}) == 8


def test_a_list_is_written_once_and_read_back(tmp_path: Path) -> None:
    sealed = make_list(4, RATIO, 7, KEY, "S-")
    write_list(tmp_path / "list.json", sealed)
    assert read_list(tmp_path / "list.json") == sealed
    assert list(sealed.entries) == ["S-01", "S-02", "S-03", "S-04"]
    with pytest.raises(UsageError, match="nothing is overwritten"):
        write_list(tmp_path / "list.json", sealed)
    with pytest.raises(UsageError, match="cannot be written"):
        write_list(tmp_path / "nowhere" / "list.json", sealed)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "another"},
        {"ratio": {"real": 1, "placebo": 1}},
        {"entries": {"P01": "abc"}},
        {"entries": {"../P01": "0" * 128}},
        {"ratio": {"real": "1"}},
        {"extra": 1},
    ],
)
def test_what_is_no_list_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    plain = msgspec.to_builtins(make_list(2, RATIO, 7, KEY)) | change
    (tmp_path / "list.json").write_text(json.dumps(plain))
    with pytest.raises(FormatError):
        read_list(tmp_path / "list.json")


def test_a_list_that_is_not_there_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_list(tmp_path / "list.json")
    (tmp_path / "list.json").write_bytes(b"\xff\x00")
    with pytest.raises(FormatError, match="is not a sealed list"):
        read_list(tmp_path / "list.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "real",
        "real=1",
        "yoked=1,reversed=1",
        "real=0,yoked=1",
        "real=1,yoked=-1",
        "real=1,placebo=1",
        "real=1,real=1",
    ],
)
def test_a_ratio_compares_real_with_sham(text: str) -> None:
    assert parse_ratio("real=2, other=1") == {"real": 2, "other": 1}
    with pytest.raises(UsageError, match="ratio"):
        parse_ratio(text)


def test_numbers_and_codes_must_fit() -> None:
    with pytest.raises(UsageError, match="multiple of 2"):
        make_list(3, RATIO, 7, KEY)
    with pytest.raises(UsageError, match="prefix"):
        make_list(2, RATIO, 7, KEY, "Jane Doe ")


def test_a_key_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_ENV, raising=False)
    path = tmp_path / "key"
    key = make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == key
    with pytest.raises(UsageError, match="nothing is overwritten"):
        make_key(path)
    path.chmod(0o640)
    with pytest.raises(UsageError, match=r"others can read this key \(mode 640\)"):
        read_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short\n")
    with pytest.raises(UsageError, match="holds 5 bytes"):
        read_key(path)


def test_a_key_comes_from_the_environment_where_its_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_ENV, raising=False)
    with pytest.raises(UsageError, match=f"variable {KEY_ENV} holds 0 bytes"):
        read_key(None)
    with pytest.raises(UsageError, match="cannot be read"):
        read_key(tmp_path / "key")
    monkeypatch.setenv(KEY_ENV, "from the environment")
    assert read_key(None) == read_key(tmp_path / "key") == b"from the environment"
    key = make_key(tmp_path / "key")
    assert read_key(tmp_path / "key") == key


def test_every_opening_is_noted_beside_the_list(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    assert openings(path) == []
    note_opening(path, ["P01"])
    noted = note_opening(path, ["P01", "P02"])
    assert noted == tmp_path / "list.json.opened.jsonl"
    assert [each.codes for each in openings(path)] == [["P01"], ["P01", "P02"]]
    with noted.open("a") as file:
        file.write("broken\n")
    with pytest.raises(FormatError, match="cannot be read"):
        openings(path)


def test_nothing_is_opened_where_that_cannot_be_noted(tmp_path: Path) -> None:
    (tmp_path / "list.json.opened.jsonl").mkdir()
    with pytest.raises(UsageError, match="so nothing is opened"):
        note_opening(tmp_path / "list.json", ["P01"])


def test_a_list_without_entries_holds_nothing() -> None:
    with pytest.raises(UsageError, match="not in the list"):
        open_entry(SealedList("eegfmri-sham-list-1", "00", 1, RATIO, {}), "P01", KEY)
