"""The campaign's report: its figures as a JSON document, as tables on the screen, and as the README's table."""

from __future__ import annotations

import json
import platform
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.crash.tally import Tally

KEPT = Path(__file__).with_name("report.json")
"""The report that the README quotes."""

MOMENTS = ("before", "during", "after")


@dataclass
class Report:
    """What a campaign found, and on what."""

    date: str
    #: Of the code that was tried.
    commit: str
    versions: dict[str, str]
    seeds: list[int]
    seconds: float = 0.0
    #: Whether it came to its end.
    complete: bool = False
    parts: dict[str, Tally] = field(default_factory=dict)

    @classmethod
    def of_here(cls, seed: int) -> Report:
        """An empty one, of the code and the programs of this machine."""
        git = _said("git", "--version").split()
        changed = "+changed" if _said("git", "status", "--porcelain") else ""
        return cls(
            date=datetime.now(UTC).date().isoformat(),
            commit=_said("git", "rev-parse", "HEAD") + changed,
            versions={
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
                "git": git[2] if len(git) > 2 else "none",
            },
            seeds=[seed],
        )

    def part(self, name: str) -> Tally:
        """The figures of a part, to be added to."""
        return self.parts.setdefault(name, Tally())

    def add(self, other: Report) -> None:
        """Make another report's figures part of this one's. Raises ``ValueError`` if it is of the same seed, or of
        other code.
        """
        if set(self.seeds) & set(other.seeds):
            raise ValueError(
                f"a report of seed {other.seeds} is to be added to one of {self.seeds}: give another --seed"
            )
        if other.commit != self.commit:
            raise ValueError(f"a report of commit {other.commit} is to be added to one of {self.commit}")
        self.seeds = other.seeds + self.seeds
        self.seconds += other.seconds
        for name, tally in other.parts.items():
            self.part(name).add(tally)

    @property
    def good(self) -> bool:
        """Whether nothing was violated, and every control caught."""
        return not any(tally.failures for tally in self.parts.values())

    @property
    def verdict(self) -> str:
        """In one line."""
        parts = ", ".join(
            f"{name}: {tally.died:,} deaths in {tally.trials.total():,} trials"
            if tally.died
            else f"{name}: {tally.caught.total():,} of {tally.trials.total():,} schedules caught"
            for name, tally in self.parts.items()
        )
        failed = sum(len(tally.failures) for tally in self.parts.values())
        end = "" if self.complete else " (interrupted)"
        return f"{parts}; {failed or 'no'} failures; seeds {_list(self.seeds)}, {self.seconds / 60:.0f} minutes{end}"

    def write(self, file: Path) -> None:
        """Write it, all or nothing."""
        document = {
            "date": self.date,
            "commit": self.commit,
            "versions": self.versions,
            "seeds": self.seeds,
            "seconds": round(self.seconds),
            "complete": self.complete,
            "parts": {name: tally.to_json() for name, tally in self.parts.items()},
        }
        draft = file.with_name(file.name + ".new")
        draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        draft.replace(file)

    @classmethod
    def read(cls, file: Path) -> Report:
        """From what :meth:`write` wrote."""
        value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        parts = {name: Tally.from_json(tally) for name, tally in value.pop("parts").items()}
        return cls(**value, parts=parts)


def tables(report: Report) -> Iterator[Table]:
    """The figures for a screen."""
    for name, tally in report.parts.items():
        if tally.caught or not tally.died:
            controls = Table(name, "schedules", "caught")
            for kind in tally.trials:
                controls.add_row(kind, f"{tally.trials[kind]}", f"{tally.caught[kind]}")
            yield controls
            continue
        table = Table(f"{name}: trials", "trials", "deaths")
        for kind in tally.trials:
            table.add_row(kind, f"{tally.trials[kind]:,}", f"{tally.deaths[kind]:,}")
        yield table
        yield _places(name, tally)


def _places(name: str, tally: Tally) -> Table:
    rows = list(places(tally))
    table = Table(f"{name}: deaths", *(MOMENTS if len(rows[0][1]) > 1 else ("",)))
    for place, figures in rows:
        table.add_row(place, *(f"{figure:,}" for figure in figures))
    return table


def places(tally: Tally) -> Iterator[tuple[str, list[int]]]:
    """Deaths by place: before, during and after it, if that is how they are told."""
    if all(place.startswith(MOMENTS) and " " in place for place in tally.places):
        for what in sorted({place.split(" ", 1)[1] for place in tally.places}):
            yield what, [tally.places[f"{moment} {what}"] for moment in MOMENTS]
    else:
        for place in sorted(tally.places):
            yield place, [tally.places[place]]


def markdown(report: Report) -> str:
    """The figures for the README."""
    versions = f"Python {report.versions['python']}, SQLite {report.versions['sqlite']}, git {report.versions['git']}"
    lines = [
        f"On {report.date}, commit `{report.commit[:12]}`, seeds {_list(report.seeds)}, {versions}, "
        f"{report.seconds / 60:.0f} minutes{'' if report.complete else ', not finished'}:",
        "",
        "| tried | trials | deaths | violations |",
        "| --- | --- | --- | --- |",
    ]
    for name, tally in report.parts.items():
        if tally.caught or not tally.died:
            caught = sum(tally.caught[kind] == tally.trials[kind] for kind in tally.trials)
            lines.append(
                f"| {name} | {tally.trials.total():,} | caught each time: {caught} of {len(tally.trials)} | "
                f"{tally.trials.total() - tally.caught.total()} missed |"
            )
            continue
        lines.append(f"| {name} | {tally.trials.total():,} | {tally.died:,} | {len(tally.failures)} |")
        lines += [
            f"| {name}, {kind} | {tally.trials[kind]:,} | {tally.deaths[kind]:,} | |" for kind in sorted(tally.trials)
        ]
    for name, tally in report.parts.items():
        if tally.died:
            told = (f"{place} {' / '.join(f'{figure:,}' for figure in figures)}" for place, figures in places(tally))
            by_moment = " (before / during / after)" if set(tally.places) & {"before commit"} else ""
            lines += ["", f"Deaths, {name}{by_moment}: " + ", ".join(told) + "."]
    return "\n".join(lines) + "\n"


def _list(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


def _said(*command: str) -> str:
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip()
