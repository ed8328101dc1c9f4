"""The world around a coder in these tests: a folder with its snapshots, commands, a model that follows a script.

Everything outside goes through one seam that counts, and can kill the process at any crossing: what dies there leaves
nothing tidied up, and the engine is driven again over the same journal and the same world.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from necrocode.coder import CoderSettings, ProgressEvent, ToolLoopCoder
from necrocode.engine.context import Context
from necrocode.engine.driver import Driver, Outcome, Program
from necrocode.engine.errors import EngineError
from necrocode.engine.journal import Journal
from necrocode.engine.lifecycle import Lifecycle, State, Transition
from necrocode.engine.runs import RunRecord
from necrocode.engine.stop import StopToken
from necrocode.scripted import Script
from necrocode.scripted.script import position_of
from necrocode.states.ports import (
    LLM,
    ChangedFile,
    ChatAnswer,
    ChatRequest,
    CoderWork,
    CommandResult,
    CommandSpec,
    CommitRequest,
    PushRequest,
    Rebased,
    RemoteRefs,
    TestResult,
    ToolCall,
)
from necrocode.states.recovery import is_command
from necrocode.states.task import TaskContext

Status = Literal["exited", "timeout", "stopped", "interrupted", "not_started"]


class Died(BaseException):
    """The process is dead from here on."""


class Seam:
    """Every call to the world crosses it."""

    def __init__(self) -> None:
        self.crossings = 0
        self.die_at: int | None = None

    def cross(self) -> None:
        self.crossings += 1
        if self.die_at is not None and self.crossings >= self.die_at:
            raise Died


class FolderWorkspace:
    """The port ``Workspace`` over a plain folder, as far as a coder uses it. Trees are kept outside the folder."""

    def __init__(self, slot: Path, seam: Seam) -> None:
        self.slot = slot
        self.seam = seam
        self.trees: dict[str, dict[str, tuple[bytes, bool]]] = {}
        self.partial: list[tuple[str, ...]] = []
        #: Raised by the next snapshot.
        self.broken: EngineError | None = None

    def take_warnings(self) -> list[str]:
        return []

    def snapshot(self, *, paths: Sequence[str] | None = None) -> str:
        self.seam.cross()
        if self.broken is not None:
            error, self.broken = self.broken, None
            raise error
        if paths is not None:
            self.partial.append(tuple(paths))
        files = self._files()
        tree = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.trees[tree] = files
        self.seam.cross()
        return tree

    def restore(self, tree: str) -> None:
        self.seam.cross()
        files = self.trees[tree]
        for path in self._files():
            if path not in files:
                (self.slot / path).unlink()
        for path, (content, executable) in files.items():
            file = self.slot / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o755 if executable else 0o644)
        self.seam.cross()

    def paths(self, tree: str) -> list[str]:
        return sorted(self.trees[tree])

    def content(self, tree: str, path: str, *, max_bytes: int) -> bytes | None:
        content, _ = self.trees[tree].get(path, (None, False))
        return content if content is not None and len(content) <= max_bytes else None

    def text(self, tree: str, path: str) -> str:
        return self.trees[tree][path][0].decode()

    def _files(self) -> dict[str, tuple[bytes, bool]]:
        return {
            file.relative_to(self.slot).as_posix(): (file.read_bytes(), os.access(file, os.X_OK))
            for file in sorted(self.slot.rglob("*"))
            if file.is_file() and not file.is_symlink() and ".git" not in file.parts and file.suffix != ".pyc"
        }

    # what a coder has no business with

    def fetch(self, *, base_branch: str | None, branch: str) -> RemoteRefs:
        raise NotImplementedError

    def rebase(self, *, branch_commit: str, base_commit: str) -> Rebased:
        raise NotImplementedError

    def tree_of(self, commit: str) -> str:
        raise NotImplementedError

    def carry(self, *, before: str, after: str, onto: str) -> str:
        raise NotImplementedError

    def message_of(self, commit: str) -> str:
        raise NotImplementedError

    def lay(self, *, commit: str, tree: str) -> None:
        raise NotImplementedError

    def diff(self, base_tree: str, tree: str) -> bytes:
        raise NotImplementedError

    def changes(self, base_tree: str, tree: str) -> list[ChangedFile]:
        raise NotImplementedError

    def commit(self, request: CommitRequest) -> str:
        raise NotImplementedError

    def bundle(self, commit: str, base_commit: str) -> bytes:
        raise NotImplementedError

    def push(self, request: PushRequest) -> None:
        raise NotImplementedError

    def has_landed(self, commit: str, branch: str) -> bool:
        raise NotImplementedError

    def give_back(self) -> None:
        raise NotImplementedError


class PlainCommands:
    """The port ``CommandRunner`` with nothing but a subprocess; results outlive the runner, as a supervisor's would."""

    def __init__(self, seam: Seam) -> None:
        self.seam = seam
        self.specs: list[CommandSpec] = []
        self.results: dict[str, CommandResult] = {}
        self.forgotten: list[str] = []
        self.on_start: Callable[[], None] = lambda: None

    def run(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        self.seam.cross()
        assert spec.command_id not in [earlier.command_id for earlier in self.specs], "a command was started twice"
        self.specs.append(spec)
        self.on_start()
        begun = time.monotonic()
        environment = {"PATH": os.environ["PATH"], "HOME": str(spec.slot_path), **spec.env}
        with subprocess.Popen(
            ["sh", "-c", spec.command],
            cwd=spec.slot_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                output, _ = process.communicate(timeout=spec.timeout.total_seconds())
                status: Status = "exited"
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
                status = "timeout"
        if stop.signal is not None:
            status = "stopped"
        code = process.returncode if status == "exited" else None
        duration = timedelta(seconds=time.monotonic() - begun)
        self.results[spec.command_id] = CommandResult(
            status, code, output.decode("utf-8", "replace"), 0, duration, "none"
        )
        self.seam.cross()
        return self.results[spec.command_id]

    def attach(self, spec: CommandSpec, stop: StopToken) -> CommandResult:
        stop.check()
        self.seam.cross()
        lost = CommandResult("interrupted", None, "", 0, timedelta(0), "none")
        return self.results.setdefault(spec.command_id, lost)

    def reap(self, run_id: str, *, keep: Sequence[str] = ()) -> int:
        raise NotImplementedError

    def whole_output(self, run_id: str, name: str) -> bytes | None:
        del run_id, name
        return None

    def forget(self, command_id: str) -> None:
        self.forgotten.append(command_id)


class ScriptedModel:
    """The port ``LLM`` over a script: answers by the place in the conversation, as the scripted server does."""

    def __init__(self, answers: Sequence[Mapping[str, Any]], seam: Seam, *, forever: bool = False) -> None:
        self.script = Script.load({"answers": list(answers), "forever": forever})
        self.seam = seam
        self.requests: list[ChatRequest] = []
        self.keys: list[str] = []
        #: Raised instead of an answer, one a request, by the place in the conversation.
        self.errors: dict[int, list[EngineError]] = {}
        #: Called with each request before it is answered.
        self.watch: Callable[[ChatRequest], None] = lambda _: None

    def complete(self, request: ChatRequest, *, key: str, timeout: timedelta, stop: StopToken) -> ChatAnswer:
        self.seam.cross()
        assert timeout > timedelta(0)
        stop.check()
        # as it would go over the wire: later changes of the caller's lists are not seen
        sent: dict[str, Any] = json.loads(
            json.dumps({"messages": list(request.messages), "tools": list(request.tools)})
        )
        self.requests.append(ChatRequest(sent["messages"], sent["tools"], request.max_tokens, request.response_format))
        self.keys.append(key)
        self.watch(request)
        position = position_of(sent["messages"])
        if self.errors.get(position):
            raise self.errors[position].pop(0)
        conversation = self.script.conversation(sent["messages"])
        answer = conversation.answer(position) if conversation else None
        assert answer is not None, f"the script has no answer at position {position}"
        calls = tuple(ToolCall(f"c{n}", name, text) for n, (name, text) in enumerate(answer.tool_calls))
        tokens_in, tokens_out = answer.usage or (-1, -1)
        self.seam.cross()
        return ChatAnswer(
            text=answer.text,
            tool_calls=calls,
            finish_reason=answer.finish_reason,
            tokens_in=100 if tokens_in < 0 else tokens_in,
            tokens_out=10 if tokens_out < 0 else tokens_out,
            model="scripted",
        )


Tests = Callable[[Path], list[TestResult]]


def passing(_slot: Path) -> list[TestResult]:
    return []


TABLE = Lifecycle(
    name="coder-test",
    version=1,
    initial="implementing",
    states=[
        State("implementing"),
        State("testing"),
        State("completed", terminal=True),
        State("failed", terminal=True),
    ],
    transitions=[
        Transition("implemented", "implementing", "testing"),
        Transition("error", "implementing", "failed"),
        Transition("budget", "implementing", "failed"),
        Transition("cancel", "implementing", "failed"),
        Transition("passed", "testing", "completed"),
        Transition("failed_tests", "testing", "implementing"),
    ],
)


@dataclass
class World:
    """A slot, a model, commands and a journal; :meth:`drive` runs the coder on the real engine."""

    home: Path
    model: ScriptedModel
    seam: Seam
    settings: CoderSettings
    tests: Tests = passing
    task: TaskContext = field(
        default_factory=lambda: TaskContext(
            task_id="1", spec_name="s", title="Mend add", description="add(1, 2) gives 2", repo_url="repo"
        )
    )

    #: Asked instead of the scripted model, if there is one.
    llm: LLM | None = None

    def __post_init__(self) -> None:
        self.slot = self.home / "slot"
        self.slot.mkdir(parents=True)
        self.workspace = FolderWorkspace(self.slot, self.seam)
        self.commands = PlainCommands(self.seam)
        self.events: list[ProgressEvent] = []
        self.journal = Journal(self.home / "journal.sqlite", durability="process-crash")
        self.run_id = ""
        self.base_tree = ""

    def files(self, **contents: str) -> None:
        """Files of the base; ``__`` in a name stands for a slash, ``_py`` at its end for ``.py``."""
        for name, content in contents.items():
            path = self.slot / (name.replace("__", "/").removesuffix("_py") + ".py" * name.endswith("_py"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def drive(self) -> RunRecord:
        """Begin the run, or take it up again."""
        if not self.run_id:
            self.base_tree = self.workspace.snapshot()
            run = self.journal.create(TABLE, subject="s", data={"attempt": 1, "feedback": []})
            self.run_id = run.run_id
        program = Program(TABLE, {"implementing": self._implement, "testing": self._test}, recover=self._recover)
        self.driver = Driver(self.journal, program)
        return self.driver.drive(self.run_id)

    def drive_over_deaths(self) -> RunRecord:
        """As :meth:`drive`, taken up again once after a death."""
        try:
            return self.drive()
        except Died:
            self.seam.die_at = None
            return self.drive()

    @property
    def outcomes(self) -> list[tuple[str, Any]]:
        """Recorded effects: names with their results."""
        return [
            (entry.name, self.journal.payload(entry).get("result"))
            for entry in self.journal.entries(self.run_id)
            if entry.kind == "outcome"
        ]

    def content(self, path: str) -> str:
        """What the committed tree would have at ``path``."""
        return self.workspace.text(self.journal.run(self.run_id).data["tree"], path)

    def tool_results(self) -> list[str]:
        """What the model was told by tools, by its last request."""
        return [message["content"] for message in self.model.requests[-1].messages if message["role"] == "tool"]

    def close(self) -> None:
        self.journal.close()
        shutil.rmtree(self.home)

    def _implement(self, ctx: Context) -> Outcome:
        coder = ToolLoopCoder(self.llm or self.model, self.commands, self.settings, self.events.append)
        feedback = tuple(TestResult(**result) for result in ctx.data["feedback"])
        work = CoderWork(
            self.task, self.slot, self.workspace, self.base_tree, attempt=ctx.data["attempt"], feedback=feedback
        )
        report = coder.implement(ctx, work)
        return Outcome("implemented", {"tree": report.tree, "summary": report.summary})

    def _test(self, ctx: Context) -> Outcome:
        def run(_attempt: object) -> list[dict[str, Any]]:
            return [
                {name: getattr(result, name) for name in TestResult.__dataclass_fields__}
                for result in self.tests(self.slot)
            ]

        results = ctx.effect("tests", run)
        if all(result["passed"] for result in results):
            return Outcome("passed")
        return Outcome("failed_tests", {"attempt": ctx.data["attempt"] + 1, "feedback": results})

    def _recover(self, ctx: Context) -> Mapping[str, Any]:
        """As the product does: what an open command left is kept for it to settle, anything else is put back."""
        if not any(is_command(effect.note) for effect in ctx.in_doubt()):
            tree = ctx.last_recorded("snapshot")
            if tree is not None:
                self.workspace.restore(tree)
        return {}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def answer(*calls: dict[str, Any], text: str = "", **more: Any) -> dict[str, Any]:
    return {"text": text, "tool_calls": list(calls), **more}


def finish(summary: str = "done") -> dict[str, Any]:
    return answer(call("finish", summary=summary))
