"""``ToolLoopCoder``: asks the model, carries out what it calls, until it finishes.

The conversation decides what comes next from what is recorded; this module only does it, each step as an effect, so
that a run that was killed comes back here, is told what was recorded, and goes on with the first step that is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from necrocode.coder import briefing
from necrocode.coder.adopting import adopted
from necrocode.coder.condensing import REASONING
from necrocode.coder.conversation import BRIEF, CHAT, TOOL, Ask, Conversation, Done, Use
from necrocode.coder.settings import LADDER, CoderSettings, Progress, ProgressEvent
from necrocode.coder.terms import Terms
from necrocode.coder.tools import files
from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.coder.tools.search import search
from necrocode.engine.effects import Adopt, Attempt, Json
from necrocode.engine.errors import EnvironmentFault, TaskError
from necrocode.llm.errors import NotSpent
from necrocode.states.ports import (
    LLM,
    ChatAnswer,
    ChatRequest,
    CoderReport,
    CoderWork,
    CommandResult,
    CommandRunner,
    CommandSpec,
)

if TYPE_CHECKING:
    from necrocode.engine.context import Context

_READING = ("read_file", "search")
_CHANGING: Mapping[str, Callable[..., files.Changed]] = {
    "edit_file": files.edit_file,
    "write_file": files.write_file,
    "delete_file": files.delete_file,
    "patch_file": files.patch_file,
}


class ToolLoopCoder:
    """Implements tasks with a model and a handful of tools: the port ``Coder``.

    ``progress`` is called as each step begins, from the thread that runs the coder.
    """

    def __init__(
        self, llm: LLM, commands: CommandRunner, settings: CoderSettings, progress: Progress | None = None
    ) -> None:
        self._llm = llm
        self._commands = commands
        self._settings = settings
        self._progress = progress

    def implement(self, ctx: Context, work: CoderWork) -> CoderReport:
        """Work until the model calls it finished: see :meth:`necrocode.states.ports.Coder.implement`."""
        talk = Conversation(self._settings, base_tree=work.base_tree, task_tokens=work.task.max_tokens)
        for earlier in ctx.history(ctx.state):
            talk.take(earlier.name, earlier.result)
        brief = ctx.effect(BRIEF, partial(self._brief, work, talk.tree), key=f"attempt {work.attempt}")
        talk.take(BRIEF, brief)
        if "terms" in brief and self._settings.max_cost is not None and talk.terms.price_in is None:
            ctx.warn("no_price", {"message": _NO_PRICE.format(model=self._settings.model)})
        while True:
            step = talk.next()
            if isinstance(step, Done):
                assert talk.tree is not None
                return CoderReport(step.summary, talk.tree)
            if isinstance(step, Ask):
                talk.take(CHAT, self._ask(ctx, step, talk))
            else:
                talk.take(TOOL + step.name, self._use(ctx, work, step, talk))

    # --- the three kinds of steps

    def _brief(self, work: CoderWork, tree: str | None, _attempt: Attempt) -> Json:
        if tree is None:
            mode = self._settings.tool_mode
            modes = LADDER if mode == "auto" else (mode,)
            return {
                "system": briefing.system_prompt(modes[0]),
                "user": briefing.task_message(work),
                "snapshot": work.workspace.snapshot(),
                "modes": list(modes),
                "whole_patches": True,
                "terms": Terms.listed(self._settings).as_json(),
            }
        # what the tests left lying about is no part of what will be committed, and the model should not see it either
        work.workspace.restore(tree)
        return {"user": briefing.feedback_message(work.feedback, work.attempt - 1), "snapshot": tree}

    def _ask(self, ctx: Context, ask: Ask, talk: Conversation) -> Json:
        free = 0

        def do(attempt: Attempt) -> Json:
            nonlocal free
            self._tell(talk, "model", "")
            request = talk.request(ask)
            try:
                answer = self._llm.complete(
                    request, key=attempt.idempotency_key, timeout=self._settings.llm_timeout, stop=attempt.stop
                )
            except NotSpent:
                free += 1
                raise
            except (TaskError, EnvironmentFault) as error:
                refused = self._refused(error, request)
                if refused is None:
                    raise
                return {"refused": refused}
            doubtful = max(0, attempt.number - 1 - free) + attempt.lost
            return _answered(answer) | ({"doubtful_attempts": doubtful} if doubtful else {})

        note = {"messages": ask.messages, "digest": ask.digest}
        return ctx.effect(CHAT, do, key=f"turn {ask.turn}", retry=self._settings.llm_retry, note=note)

    def _use(self, ctx: Context, work: CoderWork, use: Use, talk: Conversation) -> Json:
        name, key = TOOL + use.name, f"{use.number}/{use.name}"
        if use.name in _READING:
            return ctx.observe(name, partial(self._read, ctx, work, use, talk), key=key)
        if use.name != "bash":
            return ctx.effect(name, partial(self._change, work, use, talk), key=key, note=_note(use))
        assert talk.tree is not None
        run = partial(self._run, ctx, work, use, talk, talk.tree)
        settle = partial(self._settle, ctx, work, use, talk.tree)
        result = ctx.effect(name, run, key=key, policy=Adopt(settle), note=_note(use))
        # only now is the outcome on disk; on a replay there is nothing left to forget
        self._commands.forget(result["command_id"])
        return result

    # --- tools

    def _read(self, ctx: Context, work: CoderWork, use: Use, talk: Conversation) -> Json:
        given = dict(use.arguments)
        self._tell(talk, use.name, str(given.get("pattern") or given["path"]))
        try:
            if use.name == "search":
                content = search(work.slot_path, given["pattern"], given.get("path", "."), ctx.stop)
            else:
                with Beneath(work.slot_path) as folder:
                    content = files.read_file(folder, **given) + self._instructed(folder, given)
        except Refused as refused:
            return _refusal(refused)
        return {"content": content, "ok": True}

    @staticmethod
    def _instructed(folder: Beneath, given: Mapping[str, Any]) -> str:
        """Where a file that is begun to be read has instructions of its own, that they are there."""
        path = str(given["path"])
        nearest = briefing.nearest_instructions(folder, path)
        if given.get("start_line") is not None or nearest in ("", briefing.INSTRUCTIONS, path):
            return ""
        return f"\n\n(Instructions for this folder are in {nearest}; the nearest ones win.)"

    def _change(self, work: CoderWork, use: Use, talk: Conversation, _attempt: Attempt) -> Json:
        """An edit in doubt is simply made: recovery has put the files back to the last snapshot, which lacks it."""
        self._tell(talk, use.name, str(use.arguments["path"]))
        try:
            with Beneath(work.slot_path) as folder:
                changed = _CHANGING[use.name](folder, **use.arguments)
        except Refused as refused:
            return _refusal(refused)
        result = {"content": changed.content, "ok": True}
        if changed.paths:
            result["snapshot"] = work.workspace.snapshot(paths=list(changed.paths))
        return result

    def _run(self, ctx: Context, work: CoderWork, use: Use, talk: Conversation, tree: str, attempt: Attempt) -> Json:
        spec = self._spec(ctx, work, use, attempt)
        self._tell(talk, "bash", spec.command)
        return self._ended(work, self._commands.run(spec, attempt.stop), tree, attempt)

    def _settle(self, ctx: Context, work: CoderWork, use: Use, tree: str, attempt: Attempt) -> Json:
        """What became of a command that an earlier process meant to start."""
        result = adopted(self._commands, self._spec(ctx, work, use, attempt), attempt)
        return self._ended(work, result, tree, attempt)

    @staticmethod
    def _ended(work: CoderWork, result: CommandResult, tree: str, attempt: Attempt) -> Json:
        """A command's end as recorded: of one that was broken off nothing stays in the files."""
        if result.status == "interrupted":
            work.workspace.restore(tree)
        else:
            tree = work.workspace.snapshot()
        return _told(result, attempt.idempotency_key, tree)

    def _spec(self, ctx: Context, work: CoderWork, use: Use, attempt: Attempt) -> CommandSpec:
        asked = use.arguments.get("timeout_seconds")
        timeout = self._settings.command_timeout if asked is None else timedelta(seconds=max(1, asked))
        return CommandSpec(
            command_id=attempt.idempotency_key,
            run_id=ctx.run_id,
            command=use.arguments["command"],
            slot_path=work.slot_path,
            timeout=min(timeout, self._settings.max_command_timeout),
            env=work.task.env,
            pass_env=work.task.pass_env,
            network=self._settings.network,
            max_output_bytes=self._settings.max_output_bytes,
        )

    # --- small matters

    def _refused(self, error: TaskError | EnvironmentFault, request: ChatRequest) -> str | None:
        """What the endpoint will not take, if that is why it failed: a decision of the conversation's, so recorded."""
        words = str(error)
        if error.stop_reason == "context_overflow":
            return "context"
        if error.stop_reason != "llm_request":
            return None
        if request.tools and self._settings.tool_mode == "auto" and _NO_TOOLS.search(words):
            return "tools"
        if request.response_format is not None and _NO_FORMAT.search(words):
            return "format"
        if _NO_REASONING.search(words) and any(set(REASONING) & set(message) for message in request.messages):
            return "reasoning"
        return None

    def _tell(self, talk: Conversation, doing: str, detail: str) -> None:
        if self._progress is None:
            return
        spent = talk.spending
        turn = spent.turns + (doing == "model")
        line = " ".join(detail.split())
        line = line if len(line) <= 120 else line[:119] + "…"
        self._progress(ProgressEvent(turn, doing, line, spent.tokens_in, spent.tokens_out, spent.cost(talk.terms)))


_NO_TOOLS = re.compile(
    r"(tool|function.?call).*(support|enable|unknown|unrecogni[sz]ed|not permitted|not allowed|extra inputs)"
    r"|(support|unknown|unrecogni[sz]ed|unexpected|extra inputs).*(tool|function.?call)",
    re.IGNORECASE | re.DOTALL,
)
_NO_REASONING = re.compile("|".join(REASONING), re.IGNORECASE)
_NO_FORMAT = re.compile(r"response_format|json_schema|structured output|grammar", re.IGNORECASE)

_NO_PRICE = (
    "{model} has no price, neither in `prices` nor in the price list: max_cost_usd cannot be kept. "
    "Tokens are counted; max_total_tokens limits them."
)
_INTERRUPTED = (
    "This command was interrupted by a crash of the runner, or never ran. The files were put back to the state before "
    "it; whatever else it did may have happened. Run it again if it is still needed."
)


def _answered(answer: ChatAnswer) -> dict[str, Any]:
    """An answer as a recorded result: what it does not have is left out, since there are so many of them."""
    told = {name: value for name, value in asdict(answer).items() if value and name != "tool_calls"}
    if answer.tool_calls:
        # the conversation gives them identities of its own
        told["tool_calls"] = [{"name": call.name, "arguments": call.arguments} for call in answer.tool_calls]
    return {**told, "tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out}


def _told(result: CommandResult, command_id: str, tree: str) -> Json:
    """A command's end as a recorded result."""
    output = result.output.rstrip("\n") or "(no output)"
    heads = {
        "exited": f"exit code {result.exit_code}",
        "timeout": f"It was killed after {result.duration.total_seconds():.0f} s: the time it may take was over.",
        "stopped": "It was killed because the runner was asked to stop. What it did until then stands.",
        "interrupted": _INTERRUPTED,
        "not_started": "It could not be started.",
    }
    content = heads[result.status]
    if result.status != "interrupted":
        content += f"\n{output}"
    return {
        "content": content,
        "ok": result.status == "exited" and result.exit_code == 0,
        "snapshot": tree,
        "status": result.status,
        "exit_code": result.exit_code,
        **({"omitted_bytes": result.omitted_bytes} if result.omitted_bytes else {}),
        **({"whole": result.whole} if result.whole else {}),
        "duration_seconds": round(result.duration.total_seconds(), 3),
        "sandbox": result.sandbox,
        "command_id": command_id,
    }


def _refusal(refused: Refused) -> dict[str, Any]:
    return {"content": f"Error: {refused}", "ok": False}


def _note(use: Use) -> Mapping[str, Json]:
    """What the intent says. Recovery knows an open command by the name ``command`` in it."""
    name = "command" if use.name == "bash" else "path"
    said = str(use.arguments[name])
    return {"call": use.number, name: said if len(said) <= 200 else said[:199] + "…"}
