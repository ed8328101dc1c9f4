"""The world outside, in memory: it outlives every process, and counts what really happened."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from necrocode.engine.errors import EngineError, EnvironmentFault, Transient
from necrocode.states.ports import Artifact

Files: TypeAlias = dict[str, bytes]

Fate = Literal["soon", "later", "lost"]
"""What becomes of a command whose runner dies: it ends before the next one looks; it still runs then; it is killed."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of the remote or the store."""

    tree: str
    parent: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Receive:
    """One write to a branch of the remote."""

    branch: str
    old: str | None
    new: str


@dataclass(slots=True)
class Loan:
    """One loan of a slot."""

    slot_id: str
    generation: int
    key: str
    run_id: str
    ended_by: str | None = None
    #: Whether whoever asked for it had been superseded.
    late: bool = False


@dataclass(slots=True)
class Command:
    """What became of one command."""

    line: str
    run_id: str
    folder: Path
    state: Literal["forked", "running", "ended", "barred", "killed", "forgotten"] = "forked"
    starts: int = 0
    exit_code: int = 0
    output: str = ""


@dataclass(slots=True)
class World:
    """Remote, registry, pool, artifact store, snapshot store, commands and model: everything but the runner."""

    folder: Path
    repository: Files
    slots: int = 2
    fate: Fate = "soon"
    #: Services that answer nobody: the first word of a call's name, or all of it.
    down: set[str] = field(default_factory=set)
    #: How often a call still fails before it succeeds, by its name.
    faults: Counter[str] = field(default_factory=Counter)
    #: Whether the network delivers reports twice.
    duplicates: bool = False
    #: Whether what a process was about to send when it died arrives all the same, when nobody expects it any more.
    delays: bool = False
    in_flight: list[Callable[[], object]] = field(default_factory=list)
    #: Whether a paused process was superseded.
    superseded: bool = False

    trees: dict[str, Files] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    receives: list[Receive] = field(default_factory=list)
    #: Somebody else's commit that must stay at the tip of its branch.
    theirs: str | None = None

    #: By idempotency key, in the order in which they came.
    statuses: dict[str, str] = field(default_factory=dict)
    #: The highest epoch that a report came with.
    epoch: int = 0
    #: Epochs of the reports that were taken, in order.
    epochs: list[int] = field(default_factory=list)
    events: dict[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    reported: dict[str, Artifact] = field(default_factory=dict)
    artifacts: dict[str, tuple[Artifact, bytes]] = field(default_factory=dict)

    loans: list[Loan] = field(default_factory=list)
    commands: dict[str, Command] = field(default_factory=dict)
    #: Requests that reached the model: place in the conversation, and what was said until then.
    asked: list[tuple[int, str]] = field(default_factory=list)
    #: What somebody did to a slot that was not his.
    trespasses: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for number in range(1, self.slots + 1):
            self.path(f"slot-{number}").mkdir(parents=True)
            (self.path(f"slot-{number}") / "left-behind.txt").write_bytes(b"by somebody")
        base = self.keep(self.repository)
        self.branches["main"] = self.commit(Commit(base, None, "base\n"))

    def answer(self, call: str) -> None:
        """Fail as the script says: :class:`Transient`."""
        self.calls[call] += 1
        if call in self.down or call.partition(".")[0] in self.down:
            raise Transient(f"{call}: down")
        if self.faults[call] > 0:
            self.faults[call] -= 1
            raise Transient(f"{call}: failed")

    def arrive(self) -> None:
        """What was in flight arrives; nobody hears whether it was refused."""
        for deliver in self.in_flight:
            with suppress(EngineError):
                deliver()
        self.in_flight.clear()

    # --- trees and commits ---

    def keep(self, files: Files) -> str:
        """Store a tree; returns its id."""
        tree = _digest({name: content.decode("latin-1") for name, content in files.items()})
        self.trees[tree] = dict(files)
        return tree

    def commit(self, commit: Commit) -> str:
        """Store a commit; returns its id."""
        name = _digest([commit.tree, commit.parent, commit.message])
        self.commits[name] = commit
        return name

    def receive(self, branch: str, new: str, expected: str | None) -> bool:
        """Write a branch of the remote, if it is what is expected."""
        if self.branches.get(branch) != expected:
            return False
        self.overwrite(branch, new)
        return True

    def overwrite(self, branch: str, new: str) -> None:
        """Write a branch of the remote, whatever it is."""
        self.receives.append(Receive(branch, self.branches.get(branch), new))
        self.branches[branch] = new

    def somebody_pushes(self, branch: str, *, ours: bool = False) -> str:
        """A commit of somebody else (or of an earlier run of the task) lands on a branch."""
        tip, message = self.branches.get(branch), "ours\n\nNecrocode-Task: sim/1\n" if ours else "theirs\n"
        self.branches[branch] = self.commit(Commit(self.keep({"theirs.txt": b"theirs"}), tip, message))
        return self.branches[branch]

    def line_of(self, tip: str | None) -> Iterator[str]:
        """The commits of a branch, from its tip down."""
        while tip is not None:
            yield tip
            tip = self.commits[tip].parent

    # --- slots ---

    def path(self, slot_id: str) -> Path:
        """Where a slot lies."""
        return self.folder / "slots" / slot_id

    def lent(self, slot_id: str) -> Loan | None:
        """The loan of a slot that has not ended."""
        return next((loan for loan in self.loans if loan.slot_id == slot_id and loan.ended_by is None), None)

    def lend(self, key: str, run_id: str, *, late: bool = False) -> Loan | None:
        """The loan with this key, a new one if there is none, ``None`` if no slot is free."""
        for loan in self.loans:
            if loan.key == key and loan.ended_by is None:
                return loan
        for number in range(1, self.slots + 1):
            slot_id = f"slot-{number}"
            if self.lent(slot_id) is None:
                generation = 1 + sum(loan.slot_id == slot_id for loan in self.loans)
                self.loans.append(Loan(slot_id, generation, key, run_id, late=late))
                return self.loans[-1]
        return None

    def take_back(self, slot_id: str, generation: int | None, by: str = "released") -> None:
        """End a loan, unless it has ended."""
        loan = self.lent(slot_id)
        if loan is not None and loan.generation == generation:
            loan.ended_by = by
            lay(self.path(slot_id), {"left-behind.txt": b"by somebody"})

    def steal(self) -> None:
        """The pool takes every slot of the run away and lends it to somebody else."""
        for loan in [loan for loan in self.loans if loan.ended_by is None and loan.run_id != "somebody"]:
            self.take_back(loan.slot_id, loan.generation, by="stolen")
            self.loans.append(Loan(loan.slot_id, loan.generation + 1, "somebody's", "somebody"))
            lay(self.path(loan.slot_id), {"somebody.txt": b"somebody's work"})

    def occupy(self) -> None:
        """Somebody borrows every slot."""
        while self.lend(f"somebody-{len(self.loans)}", "somebody") is not None:
            pass

    def vacate(self) -> None:
        """Somebody returns what he borrowed."""
        for loan in self.loans:
            if loan.run_id == "somebody":
                self.take_back(loan.slot_id, loan.generation)

    # --- commands ---

    def start(self, command: Command) -> bool:
        """A supervisor starts its command, unless recovery was there first."""
        if command.state != "forked":
            return False
        command.state, command.starts = "running", command.starts + 1
        self._half(command, 0)
        return True

    def finish(self, command: Command) -> None:
        """A running command comes to its end."""
        if command.state == "running":
            self._half(command, 1)
            command.state = "ended"

    def time_passes(self) -> None:
        """What goes on while no runner lives."""
        for command in self.commands.values():
            if self.fate == "soon":
                self.start(command)
                self.finish(command)
            elif self.fate == "lost" and command.state in ("forked", "running"):
                command.state = "killed"

    def late_supervisors_wake(self) -> None:
        """Supervisors that were only forked when their runner died get to run at last."""
        for command in self.commands.values():
            if self.start(command):
                self.finish(command)

    def _half(self, command: Command, half: int) -> None:
        steps = [step.split() for step in command.line.split(" && ")]
        middle = len(steps) // 2
        for step in steps[middle:] if half else steps[:middle]:
            self._step(command, *step)

    def _step(self, command: Command, word: str, name: str = "", text: str = "") -> None:
        file = command.folder / name
        if word == "append":
            file.write_bytes((file.read_bytes() if file.is_file() else b"") + f"{text}\n".encode())
            command.output += f"wrote {text}\n"
        elif word == "check" and (not file.is_file() or text.encode() not in file.read_bytes()):
            command.exit_code = 1
            command.output += f"no {text} in {name}\n"

    # --- the registry ---

    @property
    def status(self) -> str | None:
        """The task's status: a `running` that comes late does not undo an end."""
        told = list(self.statuses.values())
        return next((status for status in reversed(told) if status != "running"), told[-1] if told else None)

    def refuse_older(self, epoch: int) -> None:
        """Raise :class:`EnvironmentFault` for a report of an epoch that was superseded."""
        if epoch < self.epoch:
            raise EnvironmentFault(f"epoch {epoch} is over: {self.epoch} reported", stop_reason="stale_epoch")
        self.epoch = epoch


def files_of(folder: Path) -> Files:
    """The files of a slot."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def lay(folder: Path, files: Files) -> None:
    """Make the files of a slot these."""
    for _ in laying(folder, files):
        pass


def laying(folder: Path, files: Files) -> Iterator[None]:
    """The same, with a stop after each file that was touched, so that one can die in between."""
    now = files_of(folder)
    for name in {**now, **files}:
        if now.get(name) == files.get(name):
            continue
        path = folder / name
        if name in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
        else:
            path.unlink()
        yield


def _digest(value: Any) -> str:
    return hashlib.sha1(json.dumps(value, sort_keys=True).encode()).hexdigest()
