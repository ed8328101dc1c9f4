"""Logs: nothing secret in them, one file a run, and no way for their content to drive a terminal."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from necrocode.home import Home, HomeUnusable
from necrocode.logs import FileLog, bound, configure_logging, logger
from necrocode.masking import Masker
from necrocode.states.ports import RunLog

SECRET = 'sk-"quoted\\secret"-0123'
MASK = Masker({"key": SECRET}).mask


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("necrocode")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level, ours.level = before


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_structured_logs_are_json_lines() -> None:
    stream = io.StringIO()
    configure_logging(structured=True, stream=stream)
    with bound(run_id="r", task_id="1.1"):
        logger("pool").info("slot lent", slot_id="s", number=3, path=Path("/x"))
    (line,) = lines(stream.getvalue())
    assert line.pop("timestamp")
    assert line == {
        "level": "info",
        "event": "slot lent",
        "logger": "necrocode.pool",
        "slot_id": "s",
        "number": 3,
        "path": "/x",
        "run_id": "r",
        "task_id": "1.1",
    }


@pytest.mark.parametrize("structured", [True, False])
def test_no_secret_gets_into_a_log_by_any_way(structured: bool) -> None:
    stream = io.StringIO()
    configure_logging(structured=structured, mask=MASK, stream=stream)
    log = logger()
    log.info(f"in the event: {SECRET}")
    log.info("in a value", value=SECRET, nested={"a": [SECRET, (SECRET,)], SECRET: 1}, raw=SECRET.encode())
    log.info("in an object", error=ValueError(SECRET), path=Path(SECRET))
    log.info("in arguments: %s", SECRET)
    try:
        raise RuntimeError(f"failed with {SECRET}") from ValueError(SECRET)
    except RuntimeError:
        log.exception("in an exception")
    foreign = logging.getLogger("somebody.else")
    foreign.warning("in a foreign warning: %s", SECRET)
    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        foreign.exception("in a foreign exception")
    text = stream.getvalue()
    for form in (SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], "quoted"):
        assert form not in text
    assert text.count("***") >= 10
    assert "RuntimeError: failed with ***" in text


def test_a_number_that_is_a_secret_is_masked_too() -> None:
    stream = io.StringIO()
    configure_logging(structured=True, mask=Masker({"pin": "1234567890"}).mask, stream=stream)
    logger().info("x", pin=1234567890, other=12, flag=True)
    (line,) = lines(stream.getvalue())
    assert (line["pin"], line["other"], line["flag"]) == ("***", 12, True)


def test_the_level_counts_and_others_are_heard_from_warnings_on() -> None:
    stream = io.StringIO()
    configure_logging(level="info", structured=True, stream=stream)
    logger().debug("ours, too low")
    logger().info("ours")
    logging.getLogger("somebody").info("theirs, too low")
    logging.getLogger("somebody").warning("theirs")
    assert [line["event"] for line in lines(stream.getvalue())] == ["ours", "theirs"]


def test_configuring_again_replaces_the_former_way() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(structured=True, stream=first)
    configure_logging(level="debug", structured=True, stream=second)
    logger().debug("once")
    assert first.getvalue() == ""
    assert len(lines(second.getvalue())) == 1


def test_a_line_for_people_shows_control_characters_instead_of_sending_them() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    logger().warning("said \x1b[2Jso\nand so", who="a\u202eb\r", count=2)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r"warning  said \x1b[2Jso\nand so who=a\u202eb\r count=2")


def test_each_run_has_a_file_of_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    configure_logging(level="error", stream=io.StringIO())
    log: RunLog = FileLog(home, MASK)
    ready = threading.Barrier(2)

    def work(run_id: str) -> None:
        with FileLog(home, MASK).writing(run_id, task_id="t"):
            ready.wait()
            for number in range(20):
                logger().info("step", number=number, secret=SECRET)
            logging.getLogger("somebody").warning("theirs")
            ready.wait()

    threads = [threading.Thread(target=work, args=(run_id,)) for run_id in ("r1", "r2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logger().info("after", run_id="r1")
    for run_id in ("r1", "r2"):
        found = lines(log.read(run_id).decode())
        assert [line.get("number") for line in found] == [*range(20), None]
        assert {line["run_id"] for line in found} == {run_id}
        assert {line["task_id"] for line in found} == {"t"}
        assert SECRET not in str(found)
        assert home.log_of(run_id).stat().st_mode & 0o777 == 0o600
    assert log.read("unknown") == b""


def test_a_resumed_run_goes_on_in_its_file_after_a_torn_line(tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    configure_logging(stream=io.StringIO())
    with FileLog(home).writing("r"):
        logger().info("first")
    with home.log_of("r").open("a") as file:
        file.write('{"torn')
    with FileLog(home).writing("r"):
        logger().info("second")
    first, torn, second = FileLog(home).read("r").splitlines()
    assert (json.loads(first)["event"], torn, json.loads(second)["event"]) == ("first", b'{"torn', "second")


def test_what_was_learned_later_is_masked_when_the_log_is_read(tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    configure_logging(stream=io.StringIO())
    with FileLog(home).writing("r"):
        logger().info("x", value="learned-later-0123")
    assert b"learned-later" in FileLog(home).read("r")
    assert b"learned-later" not in FileLog(home, Masker({"late": "learned-later-0123"}).mask).read("r")


def test_a_log_that_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    home = Home(tmp_path).make()
    home.log_of("r").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeUnusable, match="cannot write the log"), FileLog(home).writing("r"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_log_that_cannot_be_written_is_no_reason_to_fail() -> None:
    program = (
        "from necrocode.logs import *; import sys\n"
        "configure_logging(structured=True, stream=open('/dev/full', 'w'))\n"
        "for _ in range(3): logger().warning('x')\n"
        "print('went on'); sys.stdout.flush(); import os; os._exit(0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "went on\n"
    assert ended.stderr.count("the log cannot be written: ") == 1
    assert "Traceback" not in ended.stderr
