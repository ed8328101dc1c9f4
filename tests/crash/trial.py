"""One trial: a run is killed as planned, resumed, and everything is looked at."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from necrocode.demo.stage import git
from necrocode.scripted.server import ScriptedServer
from tests.crash import processes
from tests.crash.invariants import Violation, files_of, violations
from tests.crash.nursery import Birth, Process, Start, afresh
from tests.crash.plans import IN_A_COMMAND, RUNNER_ONLY, Death, Extent, Plan, Point
from tests.crash.scenarios import NAP, REPOSITORY, Scenario
from tests.crash.scene import Scene, rows_of
from tests.e2e.stage import KEY, Finished, Stage, script
from tests.necrocode.serve.serving import command

LIMIT_SECONDS = 90.0
"""How long one process may take."""


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


@dataclass
class CrashStage(Stage):
    """A stage whose commands can be started so that they end themselves."""

    begin: Start = afresh

    def start_mortal(self, death: Death | None, *arguments: str | Path) -> Process:
        """Start the command; with no ``death`` its entries and seams are only counted. Its output is :attr:`output`."""
        point, at = (death.point, int(death.at)) if death is not None else ("never", 0)
        return self._start(point, str(at), self.output, *arguments)

    def start_until(self, entry: str, *arguments: str | Path, moment: Literal["before", "after"] = "after") -> Process:
        """Start the command; it dies when the entry (its kind, state and name) is to be committed, or just was."""
        return self._start(f"{moment}-named", entry, self.output, *arguments)

    def necrocode(self, *arguments: str | Path, **env: str) -> Finished:
        """Run the command to its end."""
        errors = self.root / "errors.txt"
        for file in (self.output, errors):
            file.unlink(missing_ok=True)
        code = self._start("never", "0", errors, *arguments, **env).wait(LIMIT_SECONDS)
        return Finished(code, self.output.read_text(encoding="utf-8"), errors.read_text(encoding="utf-8"))

    def _start(self, point: str, at: str, errors: Path, *arguments: str | Path, **env: str) -> Process:
        (self.root / "user").mkdir(exist_ok=True)
        self.note.unlink(missing_ok=True)
        mortal = [str(self.note), point, at, *map(str, arguments)]
        return self.begin(Birth(mortal, self.env(**env), self.root, self.output, errors))

    @property
    def note(self) -> Path:
        """Where the process says what it died at."""
        return self.root / "death.json"

    @property
    def output(self) -> Path:
        """What the processes print."""
        return self.root / "output.txt"

    @property
    def statuses(self) -> dict[str, str]:
        """Status by run id; read as it is, since to open a journal may change it."""
        journal = self.home / "journal.db"
        if not rows_of(journal, "SELECT 1 FROM sqlite_master WHERE name = 'runs'"):
            return {}
        return {row["run_id"]: row["status"] for row in rows_of(journal, "SELECT run_id, status FROM runs")}

    @property
    def run_ids(self) -> list[str]:
        """The runs there are."""
        return list(self.statuses)


_VARIABLES = {"TASK_REGISTRY_URL": "registry", "REPO_POOL_URL": "pool", "ARTIFACT_STORE_URL": "artifacts"}


@contextlib.contextmanager
def staged(plan: Plan, root: Path, begin: Start = afresh) -> Iterator[Trial]:
    """Set everything up for ``plan`` below ``root``; processes are started by ``begin``."""
    scenario, stage = plan.scenario, CrashStage(root, begin=begin)
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
    with ScriptedServer(script(*scenario.answers, key=KEY)) as server, _services(stage, scenario) as services:
        stage.use(server)
        yield Trial(plan, stage, task_file, server, ledger, before, folder, services)


@contextlib.contextmanager
def _services(stage: Stage, scenario: Scenario) -> Iterator[Path]:
    """The home of the services: the stage's own, or that of another process, which nobody kills."""
    if not scenario.served:
        yield stage.home
        return
    # Not below the stage's folder, of which nothing may run in the end.
    home = stage.root.with_name(f"served-{stage.root.name}")
    try:
        with command(home, environ={"PATH": os.environ["PATH"], "HOME": os.devnull}) as served:
            for variable, service in _VARIABLES.items():
                stage.environment[variable] = served.urls[service]
            yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


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
    services: Path
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
        for _ in range(2):
            # more than once, should that have been the begin of a run, or the cancel of one
            self._live(arguments)
            if set(self.stage.statuses.values()) == {"closed"}:
                return
            arguments = self._next(resume, resume)

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
            services=self.services,
        )

    def count(self) -> dict[str, int]:
        """Play without a death; returns how many journal commits and seams there were."""
        self.finish(self.stage.start_mortal(None, "run", self.task_file, *self.plan.scenario.flags))
        counts: dict[str, int] = json.loads(self.stage.note.read_text(encoding="utf-8"))
        return counts

    def _next(self, begin: Sequence[str | Path], resume: Sequence[str]) -> Sequence[str | Path]:
        """What a user does after a death."""
        if not self.stage.statuses:
            return begin
        ((run_id, status),) = self.stage.statuses.items()
        if self.plan.scenario.cancelled and status != "closed":
            return ["cancel", run_id]
        # three deaths at one place are poison, whoever caused them
        return ["resume", "--force", run_id] if status == "parked" else resume

    def _live(self, arguments: Sequence[str | Path]) -> None:
        self.finish(self.stage.start_mortal(None, *arguments))

    def _die(self, death: Death, arguments: Sequence[str | Path]) -> None:
        if death.point in ("before-entry", "after-entry", "seam"):
            process = self.stage.start_mortal(death, *arguments)
            if self.finish(process) == -signal.SIGKILL:
                self.killed.append(json.loads(self.stage.note.read_text(encoding="utf-8")))
            return
        process = self.stage.start_mortal(None, *arguments)
        if death.point == "answer":
            self._wait(process, lambda: len(self.server.requests) >= death.at)
        elif death.point in IN_A_COMMAND:
            self._wait(process, self._naps)
            self._outlive(process, death.at)
        else:
            self._outlive(process, death.at)
        hit = self._strike(death.point, process)
        if hit:
            self.killed.append({"kind": death.point, "detail": f"{hit} processes at {death.at:g}"})
        self.finish(process)

    def _strike(self, point: Point, process: Process) -> int:
        hit = 0
        if point in ("moment", "answer", "nap", "group", "supervisor+runner") and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL) if point == "group" else process.kill()
            hit = 1
        if point in RUNNER_ONLY:
            return hit
        supervisors, keepers = processes.keepers(self.stage.home)
        commands = processes.commands(self.stage.run_ids)
        if point in ("group", "supervisor", "supervisor+runner"):
            hit += processes.kill(supervisors)
        if point in ("group", "keeper"):
            hit += processes.kill(keepers)
        if point in ("group", "command"):
            hit += processes.kill([each for each in commands if each not in (*supervisors, *keepers)])
        return hit

    def _naps(self) -> bool:
        return any(NAP in each.line for each in processes.commands(self.stage.run_ids))

    @staticmethod
    def _wait(process: Process, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + LIMIT_SECONDS
        while not condition() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)

    @staticmethod
    def _outlive(process: Process, seconds: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)

    def finish(self, process: Process) -> int:
        """Wait for the end of a process, and note what it printed. Raises ``AssertionError`` if it does not end."""
        try:
            code = process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"still running after {LIMIT_SECONDS:.0f} s") from None
        finally:
            self.said.append(self.stage.output.read_text(encoding="utf-8", errors="replace"))
            self.stage.output.unlink()
        self.said.append(f"→ {code}")
        return code


def attempt(plan: Plan, folder: Path | None = None, begin: Start = afresh) -> Result:
    """Try a plan in a temporary folder, which stays if something was wrong."""
    root = Path(tempfile.mkdtemp(prefix="crash-", dir=folder))
    result, began = Result(plan), time.monotonic()
    with staged(plan, root, begin) as trial:
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


def measure(scenario: Scenario, folder: Path | None = None, begin: Start = afresh) -> tuple[Extent, list[Violation]]:
    """Play a scenario undisturbed; what an undisturbed run breaks no death is to blame for."""
    root = Path(tempfile.mkdtemp(prefix="crash-", dir=folder))
    with staged(Plan(scenario, ()), root, begin) as trial:
        began = time.monotonic()
        counts = trial.count()
        seconds = time.monotonic() - began
        wrong = [] if scenario.cancelled else violations(trial.scene())
    if not wrong:
        shutil.rmtree(root)
    return Extent(counts["commits"], counts["seams"], seconds), wrong
