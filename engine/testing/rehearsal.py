"""Rehearsal: a world and handlers for any lifecycle, made from its table alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome, Program
from necrocode.engine.effects import Adopt, Attempt, Json, Reconcile, Repeat
from necrocode.engine.errors import NoTransition, Transient
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle
from necrocode.engine.retry import RetryPolicy
from necrocode.engine.testing.mortality import Mortal
from necrocode.engine.testing.promises import broken_promises

RETRIES = RetryPolicy(attempts=2, first_wait=timedelta(0), max_wait=timedelta(0))

STOPS = frozenset({"cancel", "deadline"})
"""Triggers that the driver fires, and no handler."""


class World:
    """Three doors, one for each policy, and how often something came through."""

    def __init__(self) -> None:
        #: Whether it answers nobody.
        self.down = False
        #: What really happened, by idempotency key.
        self.happened: Counter[str] = Counter()

    def post(self, attempt: Attempt) -> Json:
        """A service that knows idempotency keys: the same one twice counts once."""
        self._answer()
        self.happened[attempt.idempotency_key] = 1
        return attempt.idempotency_key

    def put(self, attempt: Attempt) -> Json:
        """A service that knows none: it must be asked before anything is done again."""
        self._answer()
        self.happened[attempt.idempotency_key] += 1
        return attempt.idempotency_key

    def find(self, attempt: Attempt) -> Json | None:
        """What became of a :meth:`put`."""
        self._answer()
        return attempt.idempotency_key if self.happened[attempt.idempotency_key] else None

    def attach(self, attempt: Attempt) -> Json:
        """What became of a :meth:`put` that may still be under way."""
        return self.find(attempt) or self.put(attempt)

    def _answer(self) -> None:
        if self.down:
            raise Transient("the world is down")


@dataclass
class Rehearsal:
    """What a lifecycle is played in; subclass it to play handlers and a world of your own.

    As it is, each state's handler makes one effect of each policy in a :class:`World` that counts, and leaves by the
    trigger that ``choices`` say; once those are used up, by the shortest way to an end.
    """

    lifecycle: Lifecycle
    #: For each visit, an index into the triggers that lead on from its state, in alphabetical order.
    choices: Sequence[int] = ()
    world: World = field(default_factory=World)
    #: Whether the world refuses what a superseded process does. If it cannot (a folder of files), whoever takes over
    #: kills the other first, as the engine does on one host.
    fenced: bool = True

    def begin(self) -> Mapping[str, Any]:
        """What :meth:`Journal.create` is given beyond the lifecycle."""
        return {"subject": "rehearsal", "data": {}}

    def program(self, mortal: Mortal) -> Program:
        """The program as the process ``mortal`` runs it: whatever it does to the world must be a crossing of that."""
        world = mortal.around(self.world, "world")
        working = [name for name, state in self.lifecycle.states.items() if not state.terminal]
        return Program(self.lifecycle, dict.fromkeys(working, lambda ctx: self._work(ctx, world)))

    def deliver(self, journal: Journal, mortal: Mortal) -> None:
        """What each process does before it drives the run: try what its outbox holds. Nothing here, which posts
        nothing.
        """

    def outage(self, down: bool) -> None:
        """Let the world outside go down, or come back."""
        self.world.down = down

    def violations(self, journal: Journal, run_id: str) -> Iterator[str]:
        """What does not hold now. Asked for whenever nobody writes, and after the end."""
        yield from broken_promises(journal, {self.lifecycle.name: self.lifecycle})
        happened = self.world.happened
        yield from (f"{key} happened {times} times" for key, times in happened.items() if times > 1)
        for entry in journal.entries(run_id):
            if entry.kind == "outcome" and entry.name == "rehearse":
                key = journal.payload(entry)["result"]
                if not happened[key]:
                    yield f"entry {entry.seq} says that {key} happened, and it did not"

    def _work(self, ctx: Context, world: World) -> Outcome:
        policies = ((Repeat(), world.post), (Reconcile(world.find), world.put), (Adopt(world.attach), world.put))
        for policy, do in policies:
            ctx.effect("rehearse", do, key=type(policy).__name__, policy=policy, retry=RETRIES)
        ways = self._ways(ctx)
        if ctx.visit < len(self.choices):
            return Outcome(ways[self.choices[ctx.visit] % len(ways)])
        return Outcome(min(ways, key=lambda way: self._distance(ctx, way)))

    def _ways(self, ctx: Context) -> list[str]:
        """Triggers that lead on, as far as the guards let the run's data pass."""
        ways = []
        for trigger in sorted(self.lifecycle.triggers(ctx.state) - STOPS):
            try:
                self.lifecycle.choose(ctx.state, trigger, ctx.data)
            except (NoTransition, LookupError):
                # A guard that misses its data: to be rehearsed with more in ``begin``.
                continue
            ways.append(trigger)
        if not ways:
            raise NoTransition(f"no trigger leads on from {ctx.state!r} with the data that the rehearsal has")
        return ways

    def _distance(self, ctx: Context, way: str) -> int:
        """Transitions from where ``way`` leads to the nearest end."""
        edges = {(row.source, row.target) for row in self.lifecycle.transitions}
        reached, distance = {self.lifecycle.choose(ctx.state, way, ctx.data).target}, 0
        while not reached & self.lifecycle.terminal:
            reached |= {target for source, target in edges if source in reached}
            distance += 1
        return distance
