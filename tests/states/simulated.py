"""One undisturbed run of the coding lifecycle in the simulated world, and what its journal says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from necrocode.engine.driver import Driver
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord
from necrocode.engine.testing import Mortal, replay
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.ports import Ports
from necrocode.states.program import coding_program
from necrocode.testing.playbooks import PlaybookFiles
from tests.crash.simulation.ports import Adapters
from tests.crash.simulation.scenarios import REPOSITORY, Scenario
from tests.crash.simulation.world import World
from tests.golden.outside import refusing_ports


@dataclass
class Ran:
    """A run that has ended."""

    run: RunRecord
    journal: Journal
    world: World

    @property
    def tests(self) -> list[dict[str, Any]]:
        """The last summaries."""
        found: list[dict[str, Any]] = self.run.data["tests"]
        return found

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """Name (or command) and verdict of each."""
        from necrocode.states.guards import verdict

        return [(test.get("name", test["command"]), verdict(test)) for test in self.tests]

    def warnings(self, name: str) -> list[dict[str, Any]]:
        """What was warned of under that name."""
        entries = self.journal.entries(self.run.run_id)
        return [self.journal.payload(each) for each in entries if (each.kind, each.name) == ("warning", name)]

    def effects(self, *names: str) -> list[str]:
        """Keys of the outcomes of these names, in order."""
        return [
            each.key for each in self.journal.entries(self.run.run_id) if each.kind == "outcome" and each.name in names
        ]

    @property
    def artifact(self) -> dict[str, Any]:
        """The test results that were kept."""
        kept = [content for artifact, content in self.world.artifacts.values() if artifact.type == "test"]
        found: dict[str, Any] = json.loads(kept[-1])
        return found

    @property
    def reported(self) -> Mapping[str, Any]:
        """What the terminal event says of the tests."""
        (facts,) = [facts for kind, facts in self.world.events.values() if kind.startswith("Task")]
        told: Mapping[str, Any] = facts["tests"]
        return told


@contextmanager
def simulated(scenario: Scenario, folder: Path, **files: str) -> Iterator[Ran]:
    """Drive the scenario, in its repository with ``files`` besides, to its end, and replay it.

    In the names of files ``__`` stands for a slash, ``_yaml`` at the end for ``.yaml``.
    """
    named = {name.replace("__", "/").replace("_yaml", ".yaml"): text.encode() for name, text in files.items()}
    world = World(folder / "world", {**REPOSITORY, **named})
    with Journal(folder / "journal.db", durability="process-crash") as journal:
        run = journal.create(LIFECYCLE, **scenario.begin())
        ports = Adapters().ports(world, Mortal(), scenario.answers, scenario.max_turns, lambda *_: None)
        program = coding_program(_with_playbooks(ports))
        run = Driver(journal, program, ttl=timedelta(hours=1)).drive(run.run_id)
        assert run.status == "closed", (run.state, run.stop_reason, run.data.get("error"))
        # A replay touches nothing, so it sees what the first run saw.
        assert replay(journal, coding_program(refusing_ports(journal, run.run_id)), run.run_id) > 5
        yield Ran(run, journal, world)


def _with_playbooks(ports: Ports) -> Ports:
    return replace(ports, playbooks=PlaybookFiles())
