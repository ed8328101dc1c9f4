"""The ports of the coding lifecycle over the simulated world, each call a crossing of the process that makes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from necrocode.coder import CoderSettings, ToolLoopCoder
from necrocode.engine.errors import Superseded, TaskError, Transient
from necrocode.engine.outbox import Parcel
from necrocode.engine.retry import RetryPolicy
from necrocode.engine.stop import StopToken
from necrocode.engine.testing import Death, Mortal
from necrocode.states.junit import FailingTest, Report
from necrocode.states.loan import loan_of, recall
from necrocode.states.ports import (
    Artifact,
    ChangedFile,
    ChatAnswer,
    ChatRequest,
    CommandResult,
    CommandSpec,
    CommitRequest,
    Ports,
    PushRequest,
    Rebased,
    RemoteRefs,
    SlotAllocation,
    TakenReport,
    ToolCall,
)
from necrocode.states.reports import CALLS
from tests.crash.simulation.world import Command, Commit, World, files_of, laying

Answers = Sequence[Sequence[tuple[str, Mapping[str, Any]]]]
"""What the model calls, answer by answer."""

MODEL_RETRIES = RetryPolicy(attempts=4, first_wait=timedelta(0), max_wait=timedelta(0))


class Reach:
    """A process's way into the world. Adapters are made of it; negative controls replace some of them."""

    def __init__(self, world: World, mortal: Mortal) -> None:
        self.world = world
        self.mortal = mortal

    @contextmanager
    def crossing(self, name: str) -> Iterator[None]:
        """Around one call; it fails as the world says."""
        with self.mortal.crossing("call", name):
            self.world.answer(name)
            yield

    def send(self, name: str, deliver: Callable[[], object], *, times: int = 1) -> None:
        """One message. If its sender dies on it, it may still be on its way."""
        self.mortal.check()
        try:
            with self.crossing(name):
                for _ in range(times):
                    deliver()
        except Death:
            if self.world.delays:
                self.world.in_flight.append(deliver)
            raise


class SimRegistry(Reach):
    """The port ``TaskRegistry``."""

    def fence(self, epoch: int) -> None:
        """Refuse what comes from a process that was superseded."""
        self.world.refuse_older(epoch)

    def set_status(
        self,
        task_id: str,
        spec_name: str,
        status: str,
        *,
        metadata: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int,
    ) -> None:
        del task_id, spec_name, metadata, at

        def arrive() -> None:
            if key not in self.world.statuses:
                self.fence(epoch)
                self.world.statuses[key] = status
                self.world.epochs.append(epoch)

        self.send("registry.status", arrive, times=1 + self.world.duplicates)

    def add_event(
        self,
        task_id: str,
        spec_name: str,
        event_type: str,
        *,
        data: Mapping[str, Any],
        at: datetime,
        key: str,
        epoch: int,
    ) -> None:
        del task_id, spec_name, at

        def arrive() -> None:
            if key not in self.world.events:
                self.fence(epoch)
                self.world.events[key] = (event_type, dict(data))
                self.world.epochs.append(epoch)

        self.send("registry.event", arrive, times=1 + self.world.duplicates)

    def add_artifact(self, task_id: str, spec_name: str, artifact: Artifact, *, key: str, epoch: int) -> None:
        del task_id, spec_name

        def arrive() -> None:
            if key not in self.world.reported:
                self.fence(epoch)
                self.world.reported[key] = artifact
                self.world.epochs.append(epoch)

        self.send("registry.artifact", arrive)


class SimPool(Reach):
    """The port ``RepoPool``."""

    def allocate(self, repo_url: str, *, run_id: str, key: str, timeout: timedelta, stop: StopToken) -> SlotAllocation:
        del repo_url, timeout, stop
        with self.crossing("pool.allocate"):
            late = self.world.superseded and self.mortal.identity.host == "elsewhere"
            loan = self.world.lend(key, run_id, late=late)
            if loan is None:
                raise Transient("every slot is lent", stop_reason="no_slot")
            return SlotAllocation(loan.slot_id, self.world.path(loan.slot_id), loan.generation)

    def release(self, loan: SlotAllocation, *, run_id: str, key: str) -> None:
        del run_id, key
        with self.crossing("pool.release"):
            self.world.take_back(loan.slot_id, loan.generation)

    def holds(self, loan: SlotAllocation, *, run_id: str) -> bool:
        with self.crossing("pool.holds"):
            lent = self.world.lent(loan.slot_id)
            return lent is not None and (lent.generation, lent.run_id) == (loan.generation, run_id)

    def renew(self, loan: SlotAllocation, *, run_id: str) -> None:
        del loan, run_id


class SimWorkspace(Reach):
    """The port ``Workspace``, and the ``Workspaces`` that opens it."""

    loan: SlotAllocation
    run_id: str

    def open(self, loan: SlotAllocation, *, repo_url: str, run_id: str) -> SimWorkspace:
        del repo_url
        opened = type(self)(self.world, self.mortal)
        opened.loan, opened.run_id = loan, run_id
        return opened

    @contextmanager
    def _slot(self, name: str) -> Iterator[None]:
        """Around a call that touches the slot's files: whose are they?"""
        with self.crossing(name):
            lent = self.world.lent(self.loan.slot_id)
            ours = lent is not None and (lent.generation, lent.run_id) == (self.loan.generation, self.run_id)
            # A folder checks no generation: on this host a process that is superseded is killed first, so the slot
            # of one that cannot be reached is not this folder.
            if not ours and self.mortal.identity.host != "elsewhere":
                self.world.trespasses.append(f"{name} in {self.loan.slot_id}, which is lent to {lent and lent.run_id}")
            yield

    def fetch(self, *, base_branch: str | None, branch: str) -> RemoteRefs:
        with self.crossing("git.fetch"):
            base = base_branch or "main"
            return RemoteRefs(base, self.world.branches[base], self.world.branches.get(branch))

    def rebase(self, *, branch_commit: str, base_commit: str) -> Rebased:
        with self.crossing("git.rebase"):
            files = {**self.world.trees[self.tree_of(base_commit)], **self.world.trees[self.tree_of(branch_commit)]}
            return Rebased(self.world.keep(files))

    def tree_of(self, commit: str) -> str:
        return self.world.commits[commit].tree

    def message_of(self, commit: str) -> str:
        return self.world.commits[commit].message

    def paths(self, tree: str) -> list[str]:
        return sorted(self.world.trees[tree])

    def content(self, tree: str, path: str, *, max_bytes: int) -> bytes | None:
        content = self.world.trees[tree].get(path)
        return content if content is not None and len(content) <= max_bytes else None

    def carry(self, *, before: str, after: str, onto: str) -> str:
        with self.crossing("store.carry"):
            old, new, files = (dict(self.world.trees[tree]) for tree in (before, after, onto))
            for name in old.keys() | new.keys():
                if old.get(name) != new.get(name):
                    files.pop(name, None)
                    files |= {name: new[name]} if name in new else {}
            return self.world.keep(files)

    def lay(self, *, commit: str, tree: str) -> None:
        del commit
        with self._slot("slot.lay"):
            self._lay(tree)

    def snapshot(self, *, paths: Sequence[str] | None = None) -> str:
        del paths
        with self._slot("slot.snapshot"):
            return self.world.keep(files_of(self.loan.slot_path))

    def restore(self, tree: str) -> None:
        with self._slot("slot.restore"):
            self._lay(tree)

    def _lay(self, tree: str) -> None:
        for _ in laying(self.loan.slot_path, self.world.trees[tree]):
            self.mortal.midway()

    def diff(self, base_tree: str, tree: str) -> bytes:
        with self.crossing("store.diff"):
            return f"{base_tree}..{tree}".encode()

    def changes(self, base_tree: str, tree: str) -> list[ChangedFile]:
        before, after = self.world.trees[base_tree], self.world.trees[tree]
        differing = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        return [ChangedFile(name, "M", 0, 0) for name in differing]

    def commit(self, request: CommitRequest) -> str:
        with self.crossing("store.commit"):
            told = f"{request.message}\n{request.author_name} <{request.author_email}> {request.at.isoformat()}"
            return self.world.commit(Commit(request.tree, request.parent, told))

    def bundle(self, commit: str, base_commit: str) -> bytes:
        with self.crossing("store.bundle"):
            return f"{base_commit}..{commit}".encode()

    def push(self, request: PushRequest) -> None:
        """Harsher than the port: a commit that is there already is refused like any other, so one has to ask first."""

        def arrive() -> None:
            if not self.world.receive(request.branch, request.commit, request.expected):
                raise TaskError(f"{request.branch} is not {request.expected}", stop_reason="branch_exists")

        self.send("git.push", arrive)

    def has_landed(self, commit: str, branch: str) -> bool:
        with self.crossing("git.has_landed"):
            return commit in self.world.line_of(self.world.branches.get(branch))

    def take_warnings(self) -> list[str]:
        return []

    def give_back(self) -> None:
        with self._slot("slot.give_back"):
            pass


class SimCommands(Reach):
    """The port ``CommandRunner``: a supervisor is forked, claims its command, starts it, and outlives the runner."""

    def run(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        with self.crossing("command.run"):
            commands = self.world.commands
            command = commands.setdefault(spec.command_id, Command(spec.command, spec.run_id, spec.slot_path))
            self.mortal.midway()
            # Asked for twice, it would be started twice.
            command.state = "forked" if command.starts else command.state
            self.world.start(command)
            self.mortal.midway()
            if isinstance(stop.signal, Superseded):
                raise stop.signal
            if stop.signal is not None:
                command.state = "killed"
                return _result(command, "stopped")
            self.world.finish(command)
            self.mortal.midway()
            return _result(command, "exited")

    def attach(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        del stop
        with self.crossing("command.attach"):
            command = self.world.commands.setdefault(
                spec.command_id, Command(spec.command, spec.run_id, spec.slot_path, "barred")
            )
            if command.state == "forked":
                self.bar(command)
                return _result(command, "interrupted")
            if command.state in ("barred", "killed", "forgotten"):
                return _result(command, "interrupted")
            self.world.finish(command)
            self.mortal.midway()
            return _result(command, "exited")

    def bar(self, command: Command) -> None:
        """Take the claim of a command, so that its supervisor cannot start it any more."""
        command.state = "barred"

    def reap(self, run_id: str, *, keep: Sequence[str] = ()) -> int:
        with self.crossing("command.reap"):
            killed = 0
            for command_id, command in self.world.commands.items():
                if command.run_id == run_id and command_id not in keep:
                    alive = command.state in ("forked", "running")
                    command.state = "killed" if alive else "forgotten"
                    killed += alive
                    self.mortal.midway()
            return killed

    def whole_output(self, run_id: str, name: str) -> bytes | None:
        del run_id, name
        return None

    def forget(self, command_id: str) -> None:
        del command_id


class SimJUnit(Reach):
    """The port ``JUnitFiles``: each ``check`` of a command is a test, and the command outlives whoever reads of it."""

    def variables(self, spec: CommandSpec) -> Mapping[str, str]:
        del spec
        return {}

    def stamps(self, slot_path: Path, patterns: Sequence[str]) -> Mapping[str, Any]:
        del slot_path, patterns
        with self.crossing("junit.stamps"):
            return {}

    def take(self, spec: CommandSpec, patterns: Sequence[str], stamps: Mapping[str, Any]) -> TakenReport:
        del patterns, stamps
        with self.crossing("junit.take"):
            report = Report(tests=spec.command.count("check "))
            command = self.world.commands.get(spec.command_id)
            for line in command.output.splitlines() if command is not None else ():
                if line.startswith("no "):
                    report.failures += 1
                    report.add(FailingTest(line, "", "failure", line, "", 0.0))
            return TakenReport(report)


class SimModel(Reach):
    """The port ``LLM``: answers by the place in the conversation."""

    def __init__(self, world: World, mortal: Mortal, answers: Answers, heard: Callable[[int, StopToken], None]) -> None:
        super().__init__(world, mortal)
        self.answers = answers
        self.heard = heard

    def complete(self, request: ChatRequest, *, key: str, timeout: timedelta, stop: StopToken) -> ChatAnswer:
        del key, timeout
        position = sum(message["role"] == "assistant" for message in request.messages)
        with self.mortal.crossing("call", "llm.complete"):
            said = json.dumps(list(request.messages), sort_keys=True, default=str)
            self.world.asked.append((position, hashlib.sha256(said.encode()).hexdigest()))
            self.mortal.midway()
            self.world.answer("llm.complete")
            self.heard(position, stop)
            stop.check()
            calls = self.answers[min(position, len(self.answers) - 1)]
            return ChatAnswer(
                text="",
                tool_calls=tuple(
                    ToolCall(f"c{position}-{n}", name, json.dumps(arguments))
                    for n, (name, arguments) in enumerate(calls)
                ),
                finish_reason="tool_calls",
                tokens_in=100,
                tokens_out=10,
                model="simulated",
            )


class SimArtifacts(Reach):
    """The port ``ArtifactStore``."""

    def upload(
        self, content: bytes, *, type: str, name: str, metadata: Mapping[str, Any], at: datetime, key: str
    ) -> Artifact:
        with self.crossing("artifacts.upload"):
            uri = f"sim://{len(self.world.artifacts)}/{name}"
            made = Artifact(type, uri, len(content), hashlib.sha256(content).hexdigest(), at, dict(metadata))
            return self.world.artifacts.setdefault(key, (made, content))[0]

    def download(self, uri: str) -> bytes:
        return next(content for artifact, content in self.world.artifacts.values() if artifact.uri == uri)


class NoCredentials:
    """The port ``Credentials`` with none loaded."""

    def mask(self, text: str) -> str:
        return text

    def found_in(self, content: bytes) -> str | None:
        del content
        return None

    def wipe(self) -> None:
        pass


class ShortLog:
    """The port ``RunLog``."""

    def read(self, run_id: str) -> bytes:
        return f"{run_id}\n".encode()


@dataclass(frozen=True, slots=True)
class Adapters:
    """Which adapters a process is given; negative controls exchange one for a worse."""

    registry: type[SimRegistry] = SimRegistry
    pool: type[SimPool] = SimPool
    workspaces: type[SimWorkspace] = SimWorkspace
    commands: type[SimCommands] = SimCommands
    coder: type[ToolLoopCoder] = ToolLoopCoder

    def ports(
        self, world: World, mortal: Mortal, answers: Answers, max_turns: int, heard: Callable[[int, StopToken], None]
    ) -> Ports:
        """The ports of one process."""
        commands = self.commands(world, mortal)
        settings = CoderSettings("simulated", llm_retry=MODEL_RETRIES, max_turns=max_turns)
        pool = self.pool(world, mortal)
        return Ports(
            registry=self.registry(world, mortal),
            pool=pool,
            folders=pool,
            workspaces=self.workspaces(world, mortal),
            commands=commands,
            coder=self.coder(SimModel(world, mortal, answers, heard), commands, settings),
            artifacts=SimArtifacts(world, mortal),
            credentials=NoCredentials(),
            log=ShortLog(),
            reports=SimJUnit(world, mortal),
        )


def senders(adapters: Adapters, world: World, mortal: Mortal) -> dict[str, Callable[[Parcel], None]]:
    """What delivers the outbox: by sink, as the product has them."""
    registry, pool = adapters.registry(world, mortal), adapters.pool(world, mortal)

    def report(parcel: Parcel) -> None:
        CALLS[parcel.call](registry, parcel.payload, parcel.item_id, parcel.epoch)

    def give_back(parcel: Parcel) -> None:
        key = parcel.payload["key"]
        loan = loan_of(parcel.payload)
        if parcel.call == "call_back":
            loan = recall(pool, parcel.payload["source"], run_id=parcel.run_id, key=key)
        if loan is not None:
            pool.release(loan, run_id=parcel.run_id, key=key)

    return {"registry": report, "pool": give_back}


def _result(command: Command, status: Any) -> CommandResult:
    return CommandResult(
        status=status,
        exit_code=command.exit_code if status == "exited" else None,
        output=command.output if status == "exited" else "",
        omitted_bytes=0,
        duration=timedelta(0),
        sandbox="none",
    )
