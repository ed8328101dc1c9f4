"""A lifecycle for tests, whose work each test brings along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from necrocode.engine.context import Context
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.effects import Attempt
from necrocode.engine.entry import Entry
from necrocode.engine.errors import EngineError
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition, rows
from necrocode.engine.runs import RunRecord
from necrocode.engine.testing import Death


class OpenJournal(Protocol):
    def __call__(self, name: str = "journal.db", **options: Any) -> Journal: ...


TABLE = Lifecycle(
    name="workshop",
    version=1,
    initial="working",
    states=[
        State("working", "listens to everything"),
        State("resting", "listens to nothing"),
        State("done", terminal=True),
        State("failed", terminal=True),
        State("cancelled", terminal=True),
    ],
    transitions=[
        Transition("finish", "working", "done"),
        Transition("rest", "working", "resting"),
        Transition("again", "resting", "working"),
        Transition("finish", "resting", "done"),
        *rows("error", ("working", "resting"), "failed"),
        Transition("deadline", "working", "failed"),
        Transition("cancel", "working", "cancelled"),
    ],
)

Work = Callable[[Context], Any]


def finishing(work: Work) -> Callable[[Context], Outcome]:
    """A handler that does ``work`` and finishes, with what the work returned as the run's ``result``."""

    def handle(ctx: Context) -> Outcome:
        result = work(ctx)
        return result if isinstance(result, Outcome) else Outcome("finish", {"result": result})

    return handle


@dataclass
class Workshop:
    """One run; every :meth:`drive` is another driver, as in another process."""

    journal: Journal
    begin: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""

    def __post_init__(self) -> None:
        if not self.run_id:
            data = {"task": "t", **self.begin.get("data", {})}
            options: dict[str, Any] = {"subject": "bench", **self.begin, "data": data}
            self.run_id = self.journal.create(TABLE, **options).run_id

    def driver(
        self,
        work: Work,
        *,
        resting: Work = lambda _: None,
        recover: Callable[[Context], Mapping[str, Any]] = lambda _: {},
        park: Callable[[Context, EngineError], Mapping[str, Any]] = lambda _, __: {},
        table: Lifecycle = TABLE,
        **options: Any,
    ) -> Driver:
        program = Program(
            table, {"working": finishing(work), "resting": finishing(resting)}, recover=recover, park=park
        )
        return Driver(self.journal, program, **options)

    def drive(self, work: Work, *, force: bool = False, take_over: bool = False, **options: Any) -> RunRecord:
        return self.driver(work, **options).drive(self.run_id, force=force, take_over=take_over)

    def die(self, work: Work, **options: Any) -> None:
        """Drive until the work raises :class:`Death`."""
        try:
            self.drive(work, **options)
        except Death:
            return
        raise AssertionError("nobody died")

    def reopened(self, journal: Journal) -> Workshop:
        """The same run in another open journal."""
        return Workshop(journal, run_id=self.run_id)

    @property
    def run(self) -> RunRecord:
        return self.journal.run(self.run_id)

    @property
    def entries(self) -> list[Entry]:
        return list(self.journal.entries(self.run_id))

    def told(self, *kinds: str) -> list[str]:
        """The entries of these kinds (all but leases, if none is named) as ``kind name``."""
        return [
            f"{entry.kind} {entry.name}"
            for entry in self.entries
            if (entry.kind in kinds if kinds else entry.kind != "lease")
        ]

    def payloads(self, kind: str, name: str | None = None) -> list[dict[str, Any]]:
        return [
            self.journal.payload(entry)
            for entry in self.entries
            if entry.kind == kind and (name is None or entry.name == name)
        ]


@dataclass
class Calls:
    """Something outside that can be counted, told to fail, and told to die."""

    #: What each call does: returns the value, or raises it.
    script: list[Any] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.attempts)

    def __call__(self, attempt: Any) -> Any:
        self.attempts.append(attempt)
        behaviour = self.script.pop(0) if self.script else f"done {self.count}"
        if isinstance(behaviour, BaseException):
            raise behaviour
        if isinstance(behaviour, type) and issubclass(behaviour, BaseException):
            raise behaviour
        call: Callable[[Any], Any] | None = behaviour if callable(behaviour) else None
        return behaviour if call is None else call(attempt)


def always(value: Any) -> Callable[..., Any]:
    """Something that returns ``value``, whatever it is asked."""
    return lambda *_: value


def die(*_: object) -> Any:
    """Something that nobody survives."""
    raise Death
