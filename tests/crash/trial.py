"""One trial: a run is killed as planned, resumed, and everything is looked at."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from necrocode.demo.stage import git
from necrocode.scripted.server import ScriptedServer
from tests.crash import processes
from tests.crash.invariants import Violation, files_of, violations
from tests.crash.scenarios import NAP, REPOSITORY, Scenario
from tests.crash.scene import Scene
from tests.e2e.stage import KEY, Stage, script

MORTAL = Path(__file__).with_name("mortal.py")
LIMIT_SECONDS = 90.0
"""How long one process may take."""

Point: TypeAlias = Literal[
    "before-entry",
    "after-entry",
    "seam",
    "moment",
    "nap",
    "group",
    "supervisor",
    "keeper",
    "command",
    "supervisor+runner",
]

RUNNER_ONLY: tuple[Point, ...] = ("before-entry", "after-entry", "seam", "moment", "nap")
"""Deaths that leave supervisors and commands alone: a command that was started is adopted."""

IN_A_COMMAND: tuple[Point, ...] = ("nap", "supervisor", "keeper", "command", "supervisor+runner")
"""Deaths that come while the model's command naps."""


@dataclass(frozen=True)
class Death:
    """How one process is to die."""

    point: Point
    #: Of an entry or seam: which one, from 1. Of the others: seconds.
    at: float


@dataclass(frozen=True)
class Plan:
    """What is to be tried."""

    scenario: Scenario
    #: Of the run, then of what resumes it.
    deaths: tuple[Death, ...]
    sandbox: Literal["auto", "off"] = "auto"

    def __str__(self) -> str:
        deaths = ", then ".join(f"{death.point} {death.at:g}" for death in self.deaths)
        return f"{self.scenario.name} [sandbox {self.sandbox}]: {deaths}"


@dataclass
class Result:
    """What came of it."""

    plan: Plan
    #: Each death that really happened: kind and detail.
    killed: list[dict[str, Any]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    seconds: float = 0.0
    #: Where everything still is, if something was wrong.
    root: Path | None = None
    #: What the commands printed.
    said: list[str] = field(default_factory=list)


class CrashStage(Stage):
    """A stage whose commands can be started so that they end themselves."""

    #: What runs the command: a script, and what it is told before what ``mortal.py`` is.
    through: tuple[str | Path, ...] = (MORTAL,)

    def start_mortal(self, death: Death | None, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start the command; with no ``death`` its entries and seams are only counted."""
        point, at = (death.point, int(death.at)) if death is not None else ("never", 0)
        return self._start_at(point, str(at), *arguments)

    def start_until(
        self, entry: str, *arguments: str | Path, moment: Literal["before", "after"] = "after"
    ) -> subprocess.Popen[str]:
        """Start the command; it dies when the entry (its kind, state and name) is to be committed, or just was."""
        return self._start_at(f"{moment}-named", entry, *arguments)

    def _start_at(
        self, point: str, at: str, *arguments: str | Path, stderr: int = subprocess.STDOUT
    ) -> subprocess.Popen[str]:
        (self.root / "user").mkdir(exist_ok=True)
        self.note.unlink(missing_ok=True)
        return subprocess.Popen(
            [sys.executable, *map(str, self.through), str(self.note), point, at, *map(str, arguments)],
            cwd=self.root,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            # a process group to be killed as a whole
            start_new_session=True,
        )

    @property
    def note(self) -> Path:
        """Where the process says what it died at."""
        return self.root / "death.json"

    @property
    def run_ids(self) -> list[str]:
        """The runs there are."""
        return [run.run_id for run in self.runs()]


@contextlib.contextmanager
def staged(plan: Plan, root: Path) -> Iterator[Trial]:
    """Set everything up for ``plan`` below ``root``."""
    scenario, stage = plan.scenario, CrashStage(root)
    stage.make_remote(REPOSITORY)
    for branch in scenario.taken:
        stage.push({"theirs.txt": "somebody else's\n"}, branch=branch)
    if scenario.continued:
        trailer = "feat(task-1): An earlier run\n\nNecrocode-Task: greeting/1"
        stage.push({"earlier.txt": "from an earlier run\n"}, branch="feature/task-greeting-1", message=trailer)
        stage.push({"moved.txt": "the base moved on\n"})
    task: dict[str, Any] = dict(scenario.task)
    ledger = None
    if plan.sandbox == "off":
        ledger = root / "ledger"
        task["env"] = {"LEDGER": str(ledger)}
    folder: dict[str, bytes] = {}
    if scenario.own_folder:
        checkout = root / "checkout"
        git(root, "clone", "--quiet", str(stage.remote), str(checkout))
        (checkout / "mine.txt").write_text("not to be lost\n", encoding="utf-8")
        task |= {"repo_url": None, "slot_path": str(checkout)}
        # a dirty folder is refused unless it is to be saved first
        stage.environment["NECROCODE_ON_DIRTY_FOLDER"] = "save"
        folder = files_of(checkout)
    stage.environment |= {"NECROCODE_SANDBOX": plan.sandbox, **scenario.env}
    task_file = stage.task(**task)
    before = {branch: (commit, stage.branch_updates(branch)) for branch, commit in stage.branches().items()}
    with ScriptedServer(script(*scenario.answers, key=KEY)) as server:
        stage.use(server)
        yield Trial(plan, stage, task_file, server, ledger, before, folder)


@dataclass
class Trial:
    """A plan on its stage."""

    plan: Plan
    stage: CrashStage
    task_file: Path
    server: ScriptedServer
    ledger: Path | None
    before: dict[str, tuple[str, int]]
    folder_before: dict[str, bytes]
    killed: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def play(self) -> None:
        """Run, die, resume, die again if so planned, resume."""
        begin: list[str | Path] = ["run", self.task_file, *self.plan.scenario.flags]
        resume = ["resume", "--all"]
        arguments: Sequence[str | Path] = begin
        for death in self.plan.deaths:
            self._die(death, arguments)
            arguments = self._next(begin, resume)
        self._live(arguments)
        # once more, should that have been the cancel of a run or the begin of one
        self._live(resume)

    def scene(self) -> Scene:
        """What there is to look at now."""
        hurt = any(death.point not in RUNNER_ONLY for death in self.plan.deaths)
        return Scene(
            self.stage,
            self.plan.scenario,
            self.server.requests,
            hurt=hurt,
            ledger=self.ledger,
            before=self.before,
            folder_before=self.folder_before,
        )

    def count(self) -> dict[str, int]:
        """Play without a death; returns how many journal commits and seams there were."""
        self._finish(self.stage.start_mortal(None, "run", self.task_file, *self.plan.scenario.flags))
        counts: dict[str, int] = json.loads(self.stage.note.read_text(encoding="utf-8"))
        return counts

    def _next(self, begin: Sequence[str | Path], resume: Sequence[str]) -> Sequence[str | Path]:
        """What a user does after a death."""
        runs = self.stage.runs()
        if not runs:
            return begin
        if self.plan.scenario.cancelled and runs[0].status != "closed":
            return ["cancel", runs[0].run_id]
        return resume

    def _live(self, arguments: Sequence[str | Path]) -> None:
        self._finish(self.stage.start_mortal(None, *arguments))

    def _die(self, death: Death, arguments: Sequence[str | Path]) -> None:
        if death.point in ("before-entry", "after-entry", "seam"):
            process = self.stage.start_mortal(death, *arguments)
            if self._finish(process) == -signal.SIGKILL:
                self.killed.append(json.loads(self.stage.note.read_text(encoding="utf-8")))
            return
        process = self.stage.start_mortal(None, *arguments)
        if death.point in IN_A_COMMAND:
            self._wait_for_nap(process)
        self._outlive(process, death.at)
        hit = self._strike(death.point, process)
        if hit:
            self.killed.append({"kind": death.point, "detail": f"{hit} processes after {death.at:.2f} s"})
        self._finish(process)

    def _strike(self, point: Point, process: subprocess.Popen[str]) -> int:
        supervisors, keepers = processes.keepers(self.stage.home)
        commands = processes.commands(self.stage.run_ids)
        hit = 0
        if point in ("moment", "nap", "group", "supervisor+runner") and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL) if point == "group" else process.kill()
            hit = 1
        if point in ("group", "supervisor", "supervisor+runner"):
            hit += processes.kill(supervisors)
        if point in ("group", "keeper"):
            hit += processes.kill(keepers)
        if point in ("group", "command"):
            hit += processes.kill([each for each in commands if each not in (*supervisors, *keepers)])
        return hit

    def _wait_for_nap(self, process: subprocess.Popen[str]) -> None:
        until = time.monotonic() + LIMIT_SECONDS
        while process.poll() is None and time.monotonic() < until:
            if any(NAP in each.line for each in processes.commands(self.stage.run_ids)):
                return
            time.sleep(0.03)

    @staticmethod
    def _outlive(process: subprocess.Popen[str], seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)

    def _finish(self, process: subprocess.Popen[str]) -> int:
        try:
            said, _ = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            raise AssertionError(f"still running after {LIMIT_SECONDS:.0f} s:\n{said}") from None
        finally:
            self.said.append(f"$ {' '.join(map(str, process.args[5:]))} → {process.returncode}")  # type: ignore[index]
        self.said.append(said)
        return process.returncode


def attempt(plan: Plan, folder: Path | None = None) -> Result:
    """Try a plan in a temporary folder, which stays if something was wrong."""
    root = Path(tempfile.mkdtemp(prefix="crash-", dir=folder))
    result, began = Result(plan), time.monotonic()
    with staged(plan, root) as trial:
        try:
            trial.play()
        except AssertionError as error:
            result.violations.append(Violation("every_process_ends", str(error)))
        result.violations += violations(trial.scene())
        result.killed, result.said = trial.killed, trial.said
        if result.violations:
            requests = [{"position": each.position, "served": each.served} for each in trial.server.requests]
            (root / "requests.json").write_text(json.dumps(requests), encoding="utf-8")
            (root / "said.txt").write_text("\n".join(trial.said), encoding="utf-8")
    result.seconds = time.monotonic() - began
    if result.violations:
        result.root = root
        processes.kill(processes.about(root))
    else:
        shutil.rmtree(root)
    return result


@dataclass(frozen=True)
class Extent:
    """How much there is of an undisturbed run."""

    commits: int
    seams: int
    seconds: float


def measure(scenario: Scenario, folder: Path | None = None) -> tuple[Extent, list[Violation]]:
    """Play a scenario undisturbed; what an undisturbed run breaks no death is to blame for."""
    root = Path(tempfile.mkdtemp(prefix="crash-", dir=folder))
    with staged(Plan(scenario, ()), root) as trial:
        began = time.monotonic()
        counts = trial.count()
        seconds = time.monotonic() - began
        wrong = [] if scenario.cancelled else violations(trial.scene())
    if not wrong:
        shutil.rmtree(root)
    return Extent(counts["commits"], counts["seams"], seconds), wrong


def plan_for(scenario: Scenario, extent: Extent, chance: random.Random) -> Plan:
    """One or two deaths at random: at journal entries, at seams, at moments, of whole groups, of commands."""
    deaths = [_death(scenario, extent, chance)]
    if chance.random() < 0.4:
        # what resumes has less to do than what began
        rest = Extent(extent.commits // 2, extent.seams // 2, extent.seconds * 0.7)
        deaths.append(_death(scenario, rest, chance, simple=True))
    return Plan(scenario, tuple(deaths), "auto" if chance.random() < 0.5 else "off")


def _death(scenario: Scenario, extent: Extent, chance: random.Random, *, simple: bool = False) -> Death:
    naps = any(NAP in json.dumps(answer) for answer in scenario.answers)
    kinds: dict[Point, int] = {"before-entry": 5, "after-entry": 5, "seam": 7, "moment": 5, "group": 2}
    if naps and not simple:
        kinds |= {"nap": 4, "supervisor": 1, "keeper": 1, "command": 1, "supervisor+runner": 2}
    point = chance.choices(list(kinds), weights=list(kinds.values()))[0]
    if point in ("before-entry", "after-entry"):
        return Death(point, chance.randint(1, extent.commits))
    if point == "seam":
        return Death(point, chance.randint(1, extent.seams))
    if point in IN_A_COMMAND:
        return Death(point, round(chance.uniform(0, 0.3), 3))
    return Death(point, round(chance.uniform(0.15, 1.0) * extent.seconds, 3))
