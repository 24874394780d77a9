import json
import logging
from pathlib import Path

import pytest

from streamer.errors import SessionBusy
from streamer.session_log import MachineLock, close_log, open_log


def test_a_second_session_on_this_machine_is_refused(tmp_path: Path):
    path = tmp_path / "lock"
    with MachineLock(path), pytest.raises(SessionBusy, match="another session"), MachineLock(path):
        pass
    with MachineLock(path):
        pass


def test_the_log_is_one_json_object_a_line(tmp_path: Path):
    handler = open_log(tmp_path / "log.jsonl")
    try:
        logging.getLogger("streamer.test").info("state %s", "RUNNING")
        try:
            raise ValueError("as asked")
        except ValueError:
            logging.getLogger("streamer.test").exception("failed")
    finally:
        close_log(handler)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["message"] for line in lines] == ["state RUNNING", "failed"]
    assert "as asked" in lines[1]["error"]
