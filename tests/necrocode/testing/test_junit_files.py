"""JUnit files in a slot: written where pytest is told to, read whatever lies there, and out of the way afterwards."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from necrocode.states.junit import MAX_BYTES
from necrocode.states.ports import CommandSpec, TakenReport
from necrocode.testing.junit_files import MAX_FILES, PYTEST, SlotJUnit

GOOD = b'<testsuite><testcase name="a"/><testcase name="b"><failure message="no s3cret-token"/></testcase></testsuite>'


class Place:
    """A slot, the folder of its command, and the adapter."""

    def __init__(self, root: Path) -> None:
        self.slot, self.commands = root / "slot with a space", root / "commands"
        self.slot.mkdir()
        (self.commands / "c1").mkdir(parents=True)
        self.spec = CommandSpec("c1", "run", "pytest", self.slot, timedelta(seconds=5))
        self.files = SlotJUnit(self.commands, mask=lambda text: text.replace("s3cret-token", "***"))

    @property
    def own(self) -> Path:
        """Where pytest is told to write."""
        (option,) = shlex.split(self.files.variables(self.spec)[PYTEST])
        return Path(option.removeprefix("--junitxml="))

    def take(self, *patterns: str, stamps: dict[str, object] | None = None) -> TakenReport:
        return self.files.take(self.spec, patterns, stamps or {})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_pytest_writes_a_file_for_us_and_keeps_what_the_task_gives_it(place: Place) -> None:
    (place.slot / "test_it.py").write_text("def test_a(): pass\ndef test_b(): assert 0, 'no'\ndef test_c(): assert 0\n")
    spec = replace(place.spec, env={PYTEST: "-k 'test_a or test_b'"})
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=place.slot,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **place.files.variables(spec)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    taken = place.take()
    assert taken.report is not None and not taken.problems
    assert (taken.report.tests, [test.test_id for test in taken.report.failing]) == (2, ["test_it::test_b"])
    assert [path.name for path in place.slot.iterdir()] == ["test_it.py"], "ours is gone"


def test_a_report_that_was_taken_is_found_again_by_the_next_process(place: Place) -> None:
    place.own.write_bytes(GOOD)
    first = place.take()
    assert not place.own.exists()
    assert place.take() == first and first.report is not None
    assert first.report.failing[0].message == "no ***"


def test_a_command_that_wrote_nothing_has_no_report(place: Place) -> None:
    assert place.take("reports/*.xml") == TakenReport(None)


def test_files_of_the_commands_own_count_before_ours_and_old_ones_do_not_count(place: Place) -> None:
    (place.slot / "reports").mkdir()
    for name in ("old.xml", "again.xml"):
        (place.slot / "reports" / name).write_bytes(GOOD)
    stamps = dict(place.files.stamps(place.slot, ["reports/*.xml"]))
    assert set(stamps) == {"reports/old.xml", "reports/again.xml"}
    place.own.write_bytes(b"<testsuite/>")
    (place.slot / "reports" / "again.xml").write_bytes(GOOD.replace(b"b", b"c"))
    (place.slot / "reports" / "new.xml").write_bytes(GOOD)
    taken = place.take("reports/*.xml", stamps=stamps)
    assert taken.report is not None and taken.report.tests == 4
    assert (place.slot / "reports" / "new.xml").exists(), "the command's own files stay"


def test_a_pipe_in_the_place_of_a_report_is_a_problem_and_nothing_waits_for_it(place: Place) -> None:
    os.mkfifo(place.own)
    taken = place.take()
    assert taken.report is None and "a FIFO" in taken.problems[0]
    assert not place.own.exists()


def test_a_link_out_of_the_slot_is_a_problem_and_is_not_followed(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside.xml"
    outside.write_bytes(GOOD)
    for target in (outside, Path("/etc/passwd"), Path("../outside.xml")):
        place.own.symlink_to(target)
        (place.slot / "linked.xml").symlink_to(target)
        taken = place.take("*.xml")
        assert taken.report is None and "outside" in taken.problems[0]
        assert not place.own.is_symlink()
        (place.slot / "linked.xml").unlink()
    assert outside.read_bytes() == GOOD


def test_a_folder_in_the_place_of_a_report_is_a_problem(place: Place) -> None:
    (place.own / "in").mkdir(parents=True)
    taken = place.take()
    assert taken.report is None and any("cannot be removed" in problem for problem in taken.problems)


def test_a_huge_report_is_a_problem_and_is_not_read(place: Place) -> None:
    with place.own.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    (problem,) = place.take().problems
    assert "too large" in problem
    assert not place.own.exists()


@pytest.mark.parametrize("content", [b"", b"s3cret-token", b"<!DOCTYPE x><testsuite/>", GOOD[:-5]])
def test_a_report_that_is_none_is_a_problem_that_repeats_no_secret(place: Place, content: bytes) -> None:
    place.own.write_bytes(content)
    taken = place.take()
    assert taken.report is None and len(taken.problems) == 1
    assert "s3cret" not in taken.problems[0]


def test_one_bad_file_of_several_leaves_the_others(place: Place) -> None:
    (place.slot / "a.xml").write_bytes(b"no")
    (place.slot / "b.xml").write_bytes(GOOD)
    taken = place.take("*.xml")
    assert taken.report is not None and taken.report.tests == 2
    assert len(taken.problems) == 1


def test_no_more_than_so_many_files_are_read(place: Place) -> None:
    for number in range(MAX_FILES + 5):
        (place.slot / f"{number}.xml").write_bytes(GOOD)
    taken = place.take("*.xml")
    assert taken.report is not None and taken.report.tests == 2 * MAX_FILES
