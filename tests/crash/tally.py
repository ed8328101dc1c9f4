"""Tallies: what trials found, as it adds up, whatever they tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Failure:
    """A trial in which something did not hold."""

    #: What ``--trial`` takes, to try it again.
    trial: str
    #: What did not hold.
    words: tuple[str, ...]
    #: Where everything still is, if it was kept.
    folder: str | None = None

    def __str__(self) -> str:
        kept = f"\n  kept in {self.folder}" if self.folder else ""
        return f"{self.trial}\n  " + "\n  ".join(self.words) + kept


@dataclass
class Tally:
    """What came of some trials."""

    #: Trials, by their kind.
    trials: Counter[str] = field(default_factory=Counter)
    #: Deaths, by the kind of their trial.
    deaths: Counter[str] = field(default_factory=Counter)
    #: Deaths, by where they struck.
    places: Counter[str] = field(default_factory=Counter)
    #: Deaths, by scenario.
    scenarios: Counter[str] = field(default_factory=Counter)
    #: Trials of a broken variant that found it, by kind.
    caught: Counter[str] = field(default_factory=Counter)
    #: Whatever else is worth a figure.
    besides: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def take(
        self,
        kind: str,
        scenario: str,
        places: Iterable[str],
        failure: Failure | None = None,
        besides: Iterable[str] = (),
    ) -> None:
        """Add one trial."""
        found = Counter(places)
        self.trials[kind] += 1
        self.deaths[kind] += found.total()
        self.scenarios[scenario] += found.total()
        self.places += found
        self.besides.update(besides)
        if failure is not None:
            self.failures.append(failure)

    def add(self, other: Tally) -> None:
        """Add what somebody else found."""
        self.trials += other.trials
        self.deaths += other.deaths
        self.places += other.places
        self.scenarios += other.scenarios
        self.caught += other.caught
        self.besides += other.besides
        self.failures += other.failures

    @property
    def died(self) -> int:
        """Deaths in all."""
        return self.deaths.total()

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "deaths": self.died,
            "trials": self.trials.total(),
            "failed_trials": len(self.failures),
            "by_kind": {
                kind: {"trials": self.trials[kind], "deaths": self.deaths[kind]} for kind in sorted(self.trials)
            },
            "by_place": dict(sorted(self.places.items())),
            "by_scenario": dict(sorted(self.scenarios.items())),
            "caught": dict(sorted(self.caught.items())),
            "besides": dict(sorted(self.besides.items())),
            "failures": [
                {"trial": each.trial, "words": list(each.words), "folder": each.folder} for each in self.failures
            ],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Tally:
        """From what :meth:`to_json` gave."""
        return cls(
            trials=Counter({kind: row["trials"] for kind, row in value["by_kind"].items()}),
            deaths=Counter({kind: row["deaths"] for kind, row in value["by_kind"].items()}),
            places=Counter(value["by_place"]),
            scenarios=Counter(value["by_scenario"]),
            caught=Counter(value["caught"]),
            besides=Counter(value["besides"]),
            failures=[Failure(row["trial"], tuple(row["words"]), row["folder"]) for row in value["failures"]],
        )
