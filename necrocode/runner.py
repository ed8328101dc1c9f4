"""The runner: an opened home in which runs are begun, driven, cancelled and cleaned up after."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from necrocode.config import frozen_view, thawed
from necrocode.credentials import load_credentials
from necrocode.engine.claim import LEASE_TTL, Observer
from necrocode.engine.database import Database
from necrocode.engine.driver import Driver
from necrocode.engine.errors import EnvironmentFault, LeaseHeld, SubjectBusy
from necrocode.engine.journal import Journal
from necrocode.engine.runs import RunRecord
from necrocode.errors import InvalidInput, Problem
from necrocode.home import Home
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.program import coding_program
from necrocode.states.task import TaskContext

if TYPE_CHECKING:
    from necrocode.coder.settings import Progress
    from necrocode.commands.runner import SupervisedCommands
    from necrocode.commands.sandbox import SandboxReport
    from necrocode.config import RunnerConfig
    from necrocode.config_sources import LoadedConfig
    from necrocode.credentials import LoadedCredentials
    from necrocode.engine.entry import Entry
    from necrocode.engine.stop import StopToken
    from necrocode.pool.embedded import EmbeddedPool
    from necrocode.registry.taking import TaskSets
    from necrocode.states.ports import RepoPool, SlotAllocation


@dataclass(frozen=True, slots=True)
class Orphan:
    """A run that nobody drives although it has not ended."""

    run: RunRecord
    #: ``died`` (its process is gone), ``parked``, ``interrupted`` (by a user), ``poison``, ``unseen`` (its process is
    #: on another host or in another PID namespace: only a take-over can tell whether it lives).
    why: str


class Runner:
    """One home, opened. Safe to drive several runs at once from threads; :meth:`close` it in the end.

    With ``take_over``, files of an older release are migrated although a process that cannot be seen from here holds a
    run, if it gives no sign of life for :data:`~necrocode.engine.claim.LEASE_TTL`.

    Raises :class:`~necrocode.engine.errors.EnvironmentFault` if the home or the journal cannot be used, and
    :class:`~necrocode.errors.InvalidInput` if a credential cannot.
    """

    def __init__(
        self, loaded: LoadedConfig, environ: Mapping[str, str] | None = None, *, take_over: bool = False
    ) -> None:
        self.loaded = loaded
        self._environ = os.environ if environ is None else environ
        self.credentials, warnings = load_credentials(loaded.config, self._environ)
        #: What the user should be told.
        self.warnings = tuple(warnings)
        self.home = Home(loaded.config.home).make()
        self.journal = Journal(
            self.home.journal,
            durability=loaded.config.durability,
            lock_timeout=self._lock_timeout,
            mask=self.credentials.mask,
            take_over=LEASE_TTL if take_over else None,
        )
        self._drivers: set[Driver] = set()
        self._lock = threading.Lock()
        #: Whether every run was asked to stop.
        self.stopping = False

    def close(self) -> None:
        """Close what was opened."""
        self.journal.close()
        if "services" in self.__dict__:
            self.services.close()
        if "task_sets" in self.__dict__:
            self.task_sets.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def config(self) -> RunnerConfig:
        """The configuration this runner was opened with."""
        return self.loaded.config

    @property
    def _lock_timeout(self) -> timedelta:
        return timedelta(seconds=self.config.lock_timeout_seconds)

    @cached_property
    def services(self) -> Database:
        """The embedded services' database."""
        from necrocode.embedded.database import open_services

        return open_services(self.home.root, durability=self.config.durability, lock_timeout=self._lock_timeout)

    @cached_property
    def task_sets(self) -> TaskSets:
        """Where the tasks are that can be taken."""
        from necrocode.wiring import task_sets_of

        return task_sets_of(self.config, self.credentials)

    # --- beginning ---

    def begin_all(self, tasks: Sequence[TaskContext], *, new: bool = False) -> list[RunRecord]:
        """The run of each task, as :meth:`begin` gives it; if one is refused, none was begun."""
        for task in tasks if new else ():
            for run in self.journal.runs("live", "interrupted", "parked", subject=task.subject):
                raise _unfinished(run.run_id)
        return [self.begin(task, new=new) for task in tasks]

    def begin(self, task: TaskContext, *, new: bool = False) -> RunRecord:
        """The run for ``task``: the one that has not ended yet, if there is one, else a new one.

        ``new`` insists on another. Raises :class:`InvalidInput` then, if the present one has not ended.
        """
        view = frozen_view(self.config)
        timeout = timedelta(seconds=task.timeout_seconds or self.config.default_timeout_seconds)
        try:
            run = self.journal.create(
                LIFECYCLE,
                subject=task.subject,
                data={"task": task.model_dump(mode="json")},
                settings=view,
                timeout=timeout,
                deadline_at=task.deadline_at,
            )
        except SubjectBusy as busy:
            if new:
                raise _unfinished(busy.run_id) from busy
            return self.journal.run(busy.run_id)
        return run

    # --- driving ---

    def prepare(self) -> None:
        """Do ahead, in the background, what the first run that is driven here would wait for."""
        if self.config.coder_command is None:
            from necrocode.llm.openai_package import import_openai

            # no daemon: a process that ends waits for it, as for the first line (see OpenAIChat.preload)
            threading.Thread(target=import_openai, name="import-openai").start()

    def drive(
        self,
        run_id: str,
        *,
        observer: Observer | None = None,
        progress: Progress | None = None,
        take_over: bool = False,
        force: bool = False,
    ) -> RunRecord:
        """Take a run as far as it goes; see :meth:`necrocode.engine.driver.Driver.drive` for what is raised."""
        if self.journal.run(run_id).status == "parked":
            # The slot that could not be given back then may be the one that it waits for now.
            self.deliver(run_id)
        lost: set[SlotAllocation] = set()
        while True:
            known = len(lost)
            run = self._drive_once(run_id, lost, observer, progress, take_over=take_over, force=force)
            if len(lost) == known or run.status != "interrupted" or self.stopping:
                return run
            # Taken up again like after a death: in another slot, with the files as they were recorded last.

    def _drive_once(
        self,
        run_id: str,
        lost: set[SlotAllocation],
        observer: Observer | None,
        progress: Progress | None,
        *,
        take_over: bool,
        force: bool,
    ) -> RunRecord:
        """Drive the run in one claim. A slot that the pool takes away meanwhile is added to ``lost``."""
        from necrocode.logs import FileLog
        from necrocode.narration import log_entry
        from necrocode.wiring import wire

        config = self.config_of(run_id)
        # Each run has its own, since releasing wipes them.
        credentials, _ = load_credentials(config, self._environ)
        driver: Driver | None = None

        def stop_of(_: str) -> StopToken | None:
            return driver.stop if driver is not None else None

        def epoch() -> int | None:
            return driver.epoch if driver is not None else None

        def fence() -> None:
            if driver is not None:
                driver.fence()

        wired = wire(
            self.home,
            self.journal,
            self.services,
            config,
            credentials,
            stop_of=stop_of,
            epoch=epoch,
            fence=fence,
            progress=progress,
        )
        driver = Driver(
            self.journal,
            coding_program(wired.ports),
            settings=frozen_view(config),
            observer=_both(log_entry, observer),
            ttl=self.patience(run_id),
            heartbeat=timedelta(seconds=config.lease_seconds / 6),
        )
        try:
            with (
                self._stopping_too(driver),
                FileLog(self.home, credentials.mask).writing(run_id),
                self._renewing(run_id, config, wired.ports.pool, driver, lost),
            ):
                return driver.drive(run_id, take_over=take_over, force=force)
        finally:
            wired.close()

    @contextmanager
    def _stopping_too(self, driver: Driver) -> Iterator[None]:
        """``driver`` stops when the runner does."""
        with self._lock:
            self._drivers.add(driver)
            if self.stopping:
                driver.interrupt("the runner is stopping")
        try:
            yield
        finally:
            with self._lock:
                self._drivers.discard(driver)

    @contextmanager
    def _renewing(
        self, run_id: str, config: RunnerConfig, pool: RepoPool, driver: Driver, lost: set[SlotAllocation]
    ) -> Iterator[None]:
        """Tell a pool elsewhere that the run is alive; ours sees that by itself."""
        if config.repo_pool_url is None:
            yield
            return
        from necrocode.pool.renewal import Renewal

        def leave(loan: SlotAllocation) -> None:
            lost.add(loan)
            driver.interrupt("the repo pool took the slot away")

        interval = timedelta(seconds=config.slot_renew_seconds)
        with Renewal(self.journal, run_id, pool, interval, leave, known=frozenset(lost)):
            yield

    def patience(self, run_id: str) -> timedelta:
        """How long the run's holder is watched by a take-over: its own lease, if that is longer than ours."""
        recorded = self.journal.settings(run_id).get("lease_seconds", 0)
        return timedelta(seconds=max(self.config.lease_seconds, recorded))

    def interrupt(self, message: str) -> None:
        """Stop every run that is driven here, leaving each resumable. Safe in a signal handler."""
        self.stopping = True
        for driver in tuple(self._drivers):
            driver.interrupt(message)

    def cancel(self, run_id: str, *, observer: Observer | None = None) -> RunRecord:
        """Ask for the run's end. If nobody drives it, this process does, until it is cleaned up."""
        run = self.journal.run(run_id)
        if run.status == "closed":
            return run
        self.journal.request_cancel(run_id)
        try:
            return self.drive(run_id, observer=observer, force=True)
        except LeaseHeld:
            return self.journal.run(run_id)

    def orphans(self) -> list[Orphan]:
        """Runs that have not ended and that nobody drives, as far as can be seen from here; oldest first."""
        found = []
        for run in self.journal.runs("live", "interrupted", "parked"):
            if run.status == "parked":
                found.append(Orphan(run, "poison" if run.stop_reason == "poison" else "parked"))
            elif run.status == "interrupted":
                found.append(Orphan(run, "interrupted"))
            else:
                holder = self.journal.holder(run.run_id)
                alive = False if holder is None else holder.is_alive()
                if not alive:
                    found.append(Orphan(run, "unseen" if alive is None else "died"))
        return found

    # --- the outbox ---

    def senders(self) -> dict[str, Callable[[Any], None]]:
        """Who delivers what the outbox holds, by sink."""
        from necrocode.outbox import senders

        return senders(self.home, self.journal, self.services, self.config_of, self.credentials, self.credentials_of)

    def deliver(self, run_id: str | None = None) -> tuple[int, Sequence[Any]]:
        """Try to deliver what waits in the outbox; returns how many went out, and what still waits."""
        from necrocode.engine import outbox

        if not outbox.waiting(self.journal, run_id):
            return 0, ()
        return outbox.deliver(self.journal, self.senders(), run_id)

    # --- what runs leave behind ---

    def sandbox_report(self) -> SandboxReport:
        """How commands would be confined, and why."""
        with self.commands() as commands:
            return commands.sandbox_report()

    def is_over(self, run_id: str) -> bool:
        """Whether a run has no claim to slots and commands any more."""
        from necrocode.wiring import run_is_over

        return run_is_over(self.journal, run_id)

    @contextmanager
    def commands(self) -> Iterator[SupervisedCommands]:
        """The commands of this machine, for looking after them."""
        from necrocode.wiring import commands_of

        with commands_of(self.home, self.config, self.credentials) as commands:
            yield commands

    def lent_slots(self) -> list[tuple[str, str]]:
        """Slots on loan: slot id and run id."""
        with self.pool() as pool:
            return [(slot.slot_id, slot.run_id) for slot in pool.list_slots() if slot.run_id is not None]

    @contextmanager
    def pool(self) -> Iterator[EmbeddedPool]:
        """The slots of this machine, for looking after them."""
        from necrocode.wiring import embedded_pool

        with self.commands() as commands:
            yield embedded_pool(self.home, self.journal, self.services, self.config, commands)

    def config_of(self, run_id: str) -> RunnerConfig:
        """What was recorded with the run, under what is said explicitly now. Raises :class:`EnvironmentFault`."""
        recorded = self.journal.settings(run_id)
        now = frozen_view(self.config)
        explicit = {field: now[field] for field in self.loaded.sources if field in now}
        try:
            return thawed({**recorded, **explicit}, self.config)
        except ValueError as error:
            raise EnvironmentFault(f"the recorded configuration of run {run_id} cannot be used: {error}") from error

    def credentials_of(self, run_id: str) -> LoadedCredentials:
        """The credentials that the run's configuration names. Raises :class:`EnvironmentFault`."""
        try:
            return load_credentials(self.config_of(run_id), self._environ)[0]
        except InvalidInput as error:
            raise EnvironmentFault(str(error), stop_reason="credentials") from error


def _unfinished(run_id: str) -> InvalidInput:
    return InvalidInput("--new", [Problem("", f"run {run_id} of this task has not ended: resume or cancel it first")])


def _both(first: Observer, second: Observer | None) -> Observer:
    if second is None:
        return first

    def observe(entry: Entry, payload: Mapping[str, Any]) -> None:
        first(entry, payload)
        second(entry, payload)

    return observe
