"""The crash campaign: many plans tried, counted and reported.

``python -m tests.crash.campaign --kills 250 --seed 1 --jobs 2 --report report.json``
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.crash.poison import attempt_poison
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.crash.trial import Extent, Plan, Result, attempt, measure, plan_for


@dataclass
class Report:
    """What a campaign found."""

    seed: int
    results: list[Result] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Deaths that really happened."""
        return sum(len(result.killed) for result in self.results)

    @property
    def failed(self) -> list[Result]:
        """Trials in which something did not hold."""
        return [result for result in self.results if result.violations]

    def by_kind(self) -> dict[str, tuple[int, int]]:
        """Deaths, and trials with a violation among them, by kind of death."""
        deaths, bad = Counter[str](), Counter[str]()
        for result in self.results:
            for kind in (str(death["kind"]) for death in result.killed):
                deaths[kind] += 1
                bad[kind] += bool(result.violations)
        return {kind: (deaths[kind], bad[kind]) for kind in sorted(deaths)}

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "seed": self.seed,
            "kills": self.kills,
            "trials": len(self.results),
            "by_kind": {kind: {"kills": kills, "violated": bad} for kind, (kills, bad) in self.by_kind().items()},
            "by_entry": dict(
                sorted(Counter(d["detail"] for r in self.results for d in r.killed if "entry" in d["kind"]).items())
            ),
            "violations": [
                {
                    "plan": str(result.plan),
                    "killed": result.killed,
                    "violations": [f"{each.invariant}: {each.words}" for each in result.violations],
                    "root": str(result.root),
                }
                for result in self.failed
            ],
        }


def campaign(
    kills: int,
    *,
    seed: int,
    jobs: int,
    scenarios: Sequence[Scenario] = SCENARIOS,
    folder: Path | None = None,
    told: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Try plans until there were ``kills`` deaths; ``told`` of each result.

    Each scenario is first played undisturbed, for its extent. The same seed gives the same plans (the moments at which
    they hit are the machine's).
    """
    report, chance = Report(seed), random.Random(seed)
    with ThreadPoolExecutor(jobs) as pool:
        measured: dict[str, Extent] = {}
        for scenario, (extent, wrong) in zip(scenarios, pool.map(lambda s: measure(s, folder), scenarios), strict=True):
            measured[scenario.name] = extent
            if wrong:
                report.results.append(Result(Plan(scenario, ()), violations=wrong))
        tasks = _tasks(scenarios, measured, chance, folder)
        under_way: set[Future[Result]] = set()
        while report.kills < kills or under_way:
            while report.kills + len(under_way) < kills and len(under_way) < jobs:
                under_way.add(pool.submit(next(tasks)))
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                report.results.append(future.result())
                told(report)
    return report


def _tasks(
    scenarios: Sequence[Scenario], measured: dict[str, Extent], chance: random.Random, folder: Path | None
) -> Iterator[Callable[[], Result]]:
    """Trials without end: every scenario in turn, and now and then a run that is killed until it is poison."""
    for number in count():
        if number % 40 == 20:
            seed = chance.randrange(1 << 30)
            yield lambda seed=seed: attempt_poison(random.Random(seed), folder)  # type: ignore[misc]
        scenario = scenarios[number % len(scenarios)]
        plan = plan_for(scenario, measured[scenario.name], chance)
        yield lambda plan=plan: attempt(plan, folder)  # type: ignore[misc]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.campaign", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=250)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", type=Path, default=None, metavar="FILE")
    parser.add_argument("--only", default="", metavar="WORDS", help="scenarios whose names hold these words")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 30) if given.seed is None else given.seed
    console = Console()
    scenarios = [scenario for scenario in SCENARIOS if given.only in scenario.name]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"kills, seed {seed}", total=given.kills)

        def told(report: Report) -> None:
            progress.update(bar, completed=report.kills)
            last = report.results[-1]
            for each in last.violations:
                words = escape(f"{last.plan}\n  {each.invariant}: {each.words}\n  {last.root}")
                progress.console.print(words, soft_wrap=True, highlight=False)

        report = campaign(given.kills, seed=seed, jobs=given.jobs, scenarios=scenarios, told=told)
    console.print(_table(report))
    verdict = "nothing was violated" if not report.failed else f"{len(report.failed)} trials with violations"
    console.print(f"{report.kills} kills in {len(report.results)} trials, seed {seed}: {verdict}")
    if given.report is not None:
        given.report.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    return 1 if report.failed else 0


def _table(report: Report) -> Table:
    table = Table("killed", "kills", "with violations")
    for kind, (kills, bad) in report.by_kind().items():
        table.add_row(kind, str(kills), str(bad))
    return table


if __name__ == "__main__":
    sys.exit(main())
