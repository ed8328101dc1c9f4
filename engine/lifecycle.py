"""A lifecycle: states and guarded transitions as data, validated, and the machine built from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from transitions import Machine
from transitions import Transition as MachineTransition

from necrocode.engine.errors import LifecycleError, NoTransition

Guard: TypeAlias = Callable[[Mapping[str, Any]], bool]
"""A pure predicate over the run's data as it will be after the transition."""


@dataclass(frozen=True, slots=True)
class State:
    """One phase of a run."""

    name: str
    #: What its handler does, in a line: stands in diagrams and tables.
    does: str = ""
    #: A run that gets here has ended.
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table: from ``source`` to ``target`` on ``trigger``, if ``guard`` (a name) holds.

    Rows of one source and trigger are tried in the order they stand in.
    """

    trigger: str
    source: str
    target: str
    guard: str | None = None


def rows(trigger: str, sources: Iterable[str], target: str, guard: str | None = None) -> tuple[Transition, ...]:
    """The same transition from several states."""
    return tuple(Transition(trigger, source, target, guard) for source in sources)


class Lifecycle:
    """A named, versioned table of states and transitions.

    ``guards`` maps the names used in the table to predicates. ``older`` maps each older version that can still be
    resumed to how its state names are called now (states that are missing keep their names).

    Raises :class:`LifecycleError`, naming the row, for: a name that is no identifier (it stands in diagrams too) or is
    used twice, an unknown state or guard, an unused guard, a transition out of a terminal state, a state that cannot
    be reached, a trap (no way out, or no way to a terminal state), a guarded row that can never be tried because an
    unguarded one stands before it, and an older version whose states lead nowhere.
    """

    def __init__(
        self,
        *,
        name: str,
        version: int,
        initial: str,
        states: Iterable[State],
        transitions: Iterable[Transition],
        guards: Mapping[str, Guard] | None = None,
        older: Mapping[int, Mapping[str, str]] | None = None,
    ) -> None:
        self.name = name
        self.version = version
        self.initial = initial
        listed = tuple(states)
        self.states: Mapping[str, State] = MappingProxyType({state.name: state for state in listed})
        self.transitions = tuple(transitions)
        self.guards: Mapping[str, Guard] = MappingProxyType(dict(guards or {}))
        self.older: Mapping[int, Mapping[str, str]] = MappingProxyType(dict(older or {}))
        if len(self.states) != len(listed):
            raise LifecycleError(f"{name}: a state is declared twice")
        self._validate_names()
        self._validate_rows()
        self._validate_reach()
        self._validate_older()
        self._triggers = {
            state: frozenset(row.trigger for row in self.transitions if row.source == state) for state in self.states
        }
        self._machine = self._build()

    @property
    def terminal(self) -> frozenset[str]:
        """The names of the terminal states."""
        return frozenset(name for name, state in self.states.items() if state.terminal)

    def triggers(self, state: str) -> frozenset[str]:
        """The triggers declared from ``state``."""
        return self._triggers[state]

    def choose(self, state: str, trigger: str, data: Mapping[str, Any]) -> Transition:
        """The row that ``trigger`` takes from ``state`` when the run's data are ``data``.

        The machine is asked, and moves nothing: committing the choice is the journal's business.

        Raises :class:`NoTransition` if the trigger is not declared there or every guard refused, and what a guard
        raises.
        """
        if trigger not in self._triggers[state]:
            raise NoTransition(f"{self.name}: {trigger!r} is not declared from {state!r}")
        for choice in self._machine.events[trigger].transitions[state]:
            assert isinstance(choice, _Choice)
            if choice.holds(data):
                return choice.row
        raise NoTransition(f"{self.name}: every guard of {trigger!r} from {state!r} refuses")

    def mapped(self, version: int, state: str) -> str:
        """What ``state`` of a run of lifecycle version ``version`` is called here.

        Raises :class:`LifecycleError` if runs of that version cannot be resumed by this one.
        """
        if version == self.version:
            mapping: Mapping[str, str] = {}
        elif version in self.older:
            mapping = self.older[version]
        else:
            raise LifecycleError(
                f"the run was made by version {version} of the lifecycle {self.name!r}; this release drives version "
                f"{self.version}" + (f" and can resume {sorted(self.older)}" if self.older else "")
            )
        now = mapping.get(state, state)
        if now not in self.states:
            raise LifecycleError(f"version {version} of {self.name!r} has a state {state!r} that is no longer known")
        return now

    def names(self, state: str) -> frozenset[str]:
        """What ``state`` is called here and was called in older versions."""
        return frozenset({state} | {was for older in self.older.values() for was, now in older.items() if now == state})

    def _build(self) -> Machine:
        machine = _ChoosingMachine(
            model=None,
            states=list(self.states),
            initial=self.initial,
            auto_transitions=False,
        )
        for row in self.transitions:
            machine.add_transition(
                row.trigger,
                row.source,
                row.target,
                conditions=[self.guards[row.guard]] if row.guard else None,
                row=row,
            )
        return machine

    def _validate_names(self) -> None:
        for name in (*self.states, *(row.trigger for row in self.transitions)):
            if not name.isidentifier():
                raise LifecycleError(f"{self.name}: {name!r} is no identifier")
        if self.initial not in self.states:
            raise LifecycleError(f"{self.name}: the initial state {self.initial!r} is not declared")
        if not self.terminal:
            raise LifecycleError(f"{self.name}: no state is terminal")

    def _validate_rows(self) -> None:
        open_triggers: set[tuple[str, str]] = set()
        seen: set[Transition] = set()
        for row in self.transitions:
            where = f"{self.name}: {row.source} --{row.trigger}--> {row.target}"
            for state in (row.source, row.target):
                if state not in self.states:
                    raise LifecycleError(f"{where}: unknown state {state!r}")
            if row.guard is not None and row.guard not in self.guards:
                raise LifecycleError(f"{where}: unknown guard {row.guard!r}")
            if self.states[row.source].terminal:
                raise LifecycleError(f"{where}: {row.source!r} is terminal")
            if row in seen:
                raise LifecycleError(f"{where}: declared twice")
            if (row.source, row.trigger) in open_triggers:
                raise LifecycleError(f"{where}: never tried, an unguarded row stands before it")
            seen.add(row)
            if row.guard is None:
                open_triggers.add((row.source, row.trigger))
        unused = set(self.guards) - {row.guard for row in self.transitions}
        if unused:
            raise LifecycleError(f"{self.name}: unused guards {sorted(unused)}")

    def _validate_reach(self) -> None:
        forward: dict[str, set[str]] = {state: set() for state in self.states}
        backward: dict[str, set[str]] = {state: set() for state in self.states}
        for row in self.transitions:
            forward[row.source].add(row.target)
            backward[row.target].add(row.source)
        unreachable = set(self.states) - _closure({self.initial}, forward)
        if unreachable:
            raise LifecycleError(f"{self.name}: unreachable states {sorted(unreachable)}")
        trapped = set(self.states) - _closure(set(self.terminal), backward)
        if trapped:
            raise LifecycleError(f"{self.name}: no way to a terminal state from {sorted(trapped)}")

    def _validate_older(self) -> None:
        for version, mapping in self.older.items():
            if version >= self.version:
                raise LifecycleError(f"{self.name}: version {version} is not older than {self.version}")
            for was, now in mapping.items():
                if now not in self.states:
                    raise LifecycleError(f"{self.name}: version {version} maps {was!r} to an unknown state {now!r}")
                if self.states[now].terminal:
                    raise LifecycleError(f"{self.name}: version {version} maps {was!r} to the terminal state {now!r}")


class _Choice(MachineTransition):
    """A row that is chosen but not carried out: memory must not run ahead of the disk."""

    def __init__(self, *args: Any, row: Transition, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row = row
        #: Asked themselves: ``Condition.check`` compares what they say with True, and another true value would refuse.
        self._guards = [cast(Guard, condition.func) for condition in self.conditions]

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether every condition of the row is met."""
        for guard in self._guards:  # noqa: SIM110 - a generator takes longer than what it looks at
            if not guard(data):
                return False
        return True


class _ChoosingMachine(Machine):
    transition_cls = _Choice


def _closure(start: set[str], edges: Mapping[str, set[str]]) -> set[str]:
    reached, frontier = set(start), list(start)
    while frontier:
        for following in edges[frontier.pop()] - reached:
            reached.add(following)
            frontier.append(following)
    return reached
