"""``CommandCoder``: has a command-line agent do the task, as one command in the slot.

The agent is adopted after a crash like any command: it goes on while its runner is dead, and is never started twice.
What it asks of a model is its own business: it cannot be taken up again in the middle, and is not counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from necrocode.coder import briefing
from necrocode.coder.adopting import adopted
from necrocode.engine.effects import Adopt, Attempt, Json
from necrocode.engine.errors import TaskError
from necrocode.states.ports import CoderReport, CoderWork, CommandResult, CommandRunner, CommandSpec

if TYPE_CHECKING:
    from necrocode.engine.context import Context

BRIEF = "coder.brief"
AGENT = "agent.run"

RERUNS = 2
"""How often an agent that was lost in a crash is begun anew, over the files as they were before it."""

_MOST_BYTES = 100_000
"""Of the prompt: it reaches the agent's shell in its environment, where one variable may have 128 KiB."""

_SUMMARY_CHARACTERS = 4000
_PLACEHOLDERS = {"prompt_file": "NECROCODE_PROMPT_FILE", "model": "NECROCODE_MODEL", "timeout": "NECROCODE_TIMEOUT"}


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Settings of one run, frozen with it."""

    #: For the shell. ``{prompt_file}``, ``{model}`` and ``{timeout}`` (seconds) are put in, quoted.
    command: str
    model: str
    timeout: timedelta
    #: Variables of the runner's that the agent gets, beside the task's own; never one that holds a loaded credential.
    pass_env: tuple[str, ...] = ()
    network: bool | tuple[str, ...] = False
    max_output_bytes: int = 65_536


class CommandCoder:
    """The port ``Coder`` over one command."""

    def __init__(self, commands: CommandRunner, settings: AgentSettings) -> None:
        self._commands = commands
        self._settings = settings

    def implement(self, ctx: Context, work: CoderWork) -> CoderReport:
        """Run the agent to its end: see :meth:`necrocode.states.ports.Coder.implement`.

        :class:`TaskError` ``agent_failed``: it ended with another exit code than 0, or not in its time.
        """
        brief = ctx.effect(BRIEF, partial(self._brief, ctx, work), key=f"attempt {work.attempt}")
        for turn in range(RERUNS + 1):
            ended = self._run(ctx, work, brief, turn)
            ctx.stop.check()
            if ended["status"] not in ("interrupted", "stopped"):
                return self._reported(ended)
        raise TaskError(f"the agent was lost in a crash {RERUNS + 1} times", stop_reason="command_lost")

    def _brief(self, ctx: Context, work: CoderWork, _attempt: Attempt) -> Json:
        parts = [briefing.agent_prompt(), briefing.task_message(work)]
        if work.feedback:
            parts.append(briefing.feedback_message(work.feedback, work.attempt - 1))
        prompt = "\n\n".join(parts)
        if len(prompt.encode()) > _MOST_BYTES:
            raise TaskError(f"the task's text is longer than {_MOST_BYTES:,} bytes", stop_reason="agent_failed")
        # what the tests left lying about is no part of what will be committed
        tree = ctx.data.get("tree")
        if tree is not None:
            work.workspace.restore(str(tree))
        return {"prompt": prompt, "snapshot": work.workspace.snapshot()}

    def _run(self, ctx: Context, work: CoderWork, brief: Json, turn: int) -> Json:
        def spec(attempt: Attempt) -> CommandSpec:
            return CommandSpec(
                command_id=attempt.idempotency_key,
                run_id=ctx.run_id,
                command=_shell(self._settings.command),
                slot_path=work.slot_path,
                timeout=self._settings.timeout,
                env={
                    **work.task.env,
                    "NECROCODE_PROMPT": brief["prompt"],
                    "NECROCODE_MODEL": self._settings.model,
                    "NECROCODE_TIMEOUT": f"{self._settings.timeout.total_seconds():.0f}",
                },
                pass_env=[*work.task.pass_env, *self._settings.pass_env],
                network=self._settings.network,
                max_output_bytes=self._settings.max_output_bytes,
            )

        def run(attempt: Attempt) -> Json:
            return _told(work, self._commands.run(spec(attempt), attempt.stop), brief["snapshot"], attempt)

        def attach(attempt: Attempt) -> Json:
            return _told(work, adopted(self._commands, spec(attempt), attempt), brief["snapshot"], attempt)

        key = f"attempt {work.attempt}" + (f"#{turn}" if turn else "")
        note = {"command": self._settings.command}
        result = ctx.effect(AGENT, run, key=key, policy=Adopt(attach), note=note)
        # only now is the outcome on disk; on a replay there is nothing left to forget
        self._commands.forget(result["command_id"])
        return result

    @staticmethod
    def _reported(ended: Json) -> CoderReport:
        output = ended["output"].strip()
        if ended["status"] == "timeout":
            words = f"the agent did not end within {ended['seconds']:.0f} s"
        elif ended["status"] == "not_started":
            words = "the agent could not be started"
        elif ended["exit_code"] != 0:
            words = f"the agent ended with exit code {ended['exit_code']}"
        else:
            return CoderReport(output[-_SUMMARY_CHARACTERS:] or "(the agent said nothing)", ended["snapshot"])
        raise TaskError(f"{words}: {output[-2000:]}", stop_reason="agent_failed")


def _shell(command: str) -> str:
    """The command line: the prompt put into a file outside of the slot first."""

    def variable(found: re.Match[str]) -> str:
        return f'"${{{_PLACEHOLDERS[found[1]]}}}"'

    placed = re.sub(rf"\{{({'|'.join(_PLACEHOLDERS)})\}}", variable, command)
    return (
        'export NECROCODE_PROMPT_FILE="$HOME/necrocode-prompt.md" && '
        'printf "%s\\n" "$NECROCODE_PROMPT" > "$NECROCODE_PROMPT_FILE" && unset NECROCODE_PROMPT && '
        f"{{ {placed}\n}}"
    )


def _told(work: CoderWork, result: CommandResult, before: str, attempt: Attempt) -> Json:
    """The agent's end as recorded: of one that was broken off nothing stays in the files."""
    if result.status in ("interrupted", "stopped"):
        work.workspace.restore(before)
        tree = before
    else:
        tree = work.workspace.snapshot()
    return {
        "status": result.status,
        "exit_code": result.exit_code,
        "output": result.output,
        "omitted_bytes": result.omitted_bytes,
        **({"whole": result.whole} if result.whole else {}),
        "seconds": round(result.duration.total_seconds(), 3),
        "sandbox": result.sandbox,
        "snapshot": tree,
        "command_id": attempt.idempotency_key,
    }
