"""The campaign as a whole: its parts, its report, its end, also an early one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import pytest

from tests.crash.campaign import MOST_FAILURES, Campaign
from tests.crash.parts import Asked, Job, Part
from tests.crash.processes import living
from tests.crash.report import KEPT, Report, markdown
from tests.crash.tally import Failure, Tally
from tests.e2e.stage import PATIENCE

ROOT = Path(__file__).parent.parent.parent


def dies(failure: Failure | None = None) -> Tally:
    """A trial with two deaths."""
    tally = Tally()
    tally.take("chance", "success", ["before commit", "after commit"], failure, ["in testing"])
    return tally


def breaks() -> Tally:
    """A trial that cannot be made."""
    raise OSError("no space left")


def part(job: Job, times: int | None = None, until: str = "deaths") -> Part:
    """A part that does the same again and again."""

    def jobs(_: Asked, __: Executor) -> Iterator[Job]:
        made = 0
        while times is None or made < times:
            made += 1
            yield job

    return Part("small", until, jobs, lambda *_: job())


def report(seed: int = 1) -> Report:
    """An empty one."""
    versions = {"python": "3.11.7", "sqlite": "3.40.1", "git": "2.39.5"}
    return Report("2026-01-01", "c0ffee", versions, [seed])


def campaign(into: Report, *parts: Part, deaths: int = 10) -> Campaign:
    return Campaign(into, Asked(), {"small": deaths}, jobs=1, parts=parts)


def test_a_part_goes_on_until_there_were_enough_deaths() -> None:
    found = report()
    campaign(found, part(dies)).run()
    assert 10 <= found.part("small").died <= 14
    assert found.complete
    assert found.good


def test_a_part_may_end_when_everything_was_tried() -> None:
    found = report()
    campaign(found, part(dies, 3, "all")).run()
    assert found.part("small").trials["chance"] == 3


def test_a_violation_is_in_the_report_with_what_reproduces_it(tmp_path: Path) -> None:
    found = report()
    campaign(found, part(partial(dies, Failure("small/7", ("it is broken",))), 1)).run()
    found.write(tmp_path / "report.json")
    assert not found.good
    (failure,) = json.loads((tmp_path / "report.json").read_text())["parts"]["small"]["failures"]
    assert failure == {"trial": "small/7", "words": ["it is broken"], "folder": None}


def test_a_trial_that_cannot_be_made_is_a_failure_and_so_many_are_the_end() -> None:
    found = report()
    campaign(found, part(breaks)).run()
    assert MOST_FAILURES <= len(found.part("small").failures) <= MOST_FAILURES + 2
    assert "no space left" in str(found.part("small").failures[0])


def test_what_was_asked_to_stop_is_not_complete() -> None:
    found = report()
    stopped = campaign(found, part(dies))
    stopped.told = stopped.stop
    stopped.run()
    assert not found.complete
    assert found.part("small").died == 0


def test_reports_of_several_seeds_add_up(tmp_path: Path) -> None:
    one, two = report(1), report(2)
    for each in (one, two):
        each.part("small").add(dies())
        each.seconds = 30
    one.write(tmp_path / "one.json")
    two.add(Report.read(tmp_path / "one.json"))
    assert (two.seeds, two.part("small").died, two.seconds) == ([1, 2], 4, 60)
    assert two.part("small").places == {"before commit": 2, "after commit": 2}
    with pytest.raises(ValueError, match="give another --seed"):
        two.add(one)


def test_a_report_survives_being_written(tmp_path: Path) -> None:
    found = report()
    campaign(found, part(dies, 3, "all")).run()
    found.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == found


def test_the_readme_is_told_every_figure() -> None:
    found = report()
    campaign(found, part(dies, 3, "all")).run()
    assert "| small | 3 | 6 | 0 |" in markdown(found)
    assert "commit 3 / 0 / 3" in markdown(found)


def test_the_report_that_is_kept_names_no_place_of_a_machine() -> None:
    kept = Report.read(KEPT)
    assert kept.good
    assert str(ROOT) not in KEPT.read_text()


def test_a_campaign_that_is_terminated_writes_what_it_has_and_leaves_nobody(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    command = ["--deaths", "1000000", "--kills", "0", "--jobs", "1", "--only", "every slot is lent"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.campaign", *command, "--report", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CAMPAIGN": str(tmp_path)},
        start_new_session=True,
    )
    assert process.stdout is not None
    while not file.exists():
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
    # as a terminal does it, and ``timeout``: to everybody
    os.killpg(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "(interrupted)" in said.replace("\n", " ")
    assert not Report.read(file).complete
    assert not [each for each in living() if f"CAMPAIGN={tmp_path}" in each.environment]
