"""Drives one agent that speaks the Agent Client Protocol (version 1), for one prompt, over its stdin and stdout.

It runs where the agent does: as the command of the ``CommandCoder``, in the slot and its sandbox, under the supervisor
that outlives the runner. So an agent of this kind is adopted after a crash like any other command.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acp import PROTOCOL_VERSION, RequestError, spawn_agent_process, text_block
from acp.schema import (
    AgentMessageChunk,
    AllowedOutcome,
    ClientCapabilities,
    DeniedOutcome,
    FileSystemCapabilities,
    Implementation,
    PermissionOption,
    RequestPermissionResponse,
    TextContentBlock,
    ToolCallStart,
    ToolCallUpdate,
)

#: Bytes of one message of the agent's: a whole file may stand in it.
_MESSAGE_BYTES = 64 * 1024 * 1024
#: Why an agent ends a turn, other than having done what it was asked for.
_REASONS = {
    "refusal": "the agent refused",
    "max_tokens": "the agent reached its limit of tokens",
    "max_turn_requests": "the agent reached its limit of requests",
    "cancelled": "the agent was cancelled",
}


class AgentFailed(Exception):
    """The agent did not get to its end; the message says how."""


class _Here:
    """The client's side: what the agent does is shown, and what it asks for is allowed, since the sandbox holds it.

    It offers neither files nor terminals: the agent stands in the slot and uses its own.
    """

    async def request_permission(
        self,
        session_id: str,  # noqa: ARG002
        tool_call: ToolCallUpdate,  # noqa: ARG002
        options: list[PermissionOption],
        **_: Any,
    ) -> RequestPermissionResponse:
        for kind in ("allow_always", "allow_once"):
            for option in options:
                if option.kind == kind:
                    chosen = AllowedOutcome(option_id=option.option_id, outcome="selected")
                    return RequestPermissionResponse(outcome=chosen)
        return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:  # noqa: ARG002
        if isinstance(update, AgentMessageChunk) and isinstance(update.content, TextContentBlock):
            _show(update.content.text)
        elif isinstance(update, ToolCallStart):
            _show(f"\n[{update.title}]\n")

    def on_connect(self, conn: Any) -> None:
        """Nothing is asked of the agent before it is greeted."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        async def refuse(*_: Any, **__: Any) -> Any:
            raise RequestError.method_not_found(name)

        return refuse


def run(prompt: str, command: Sequence[str], folder: Path) -> None:
    """Have the agent ``command`` do what ``prompt`` says in ``folder``. What it says is printed.

    Raises :class:`AgentFailed`.
    """
    asyncio.run(_run(prompt, command, folder))


async def _run(prompt: str, command: Sequence[str], folder: Path) -> None:
    try:
        async with spawn_agent_process(
            _Here(),
            command[0],
            *command[1:],
            env=os.environ,
            cwd=folder,
            transport_kwargs={"stderr": None, "limit": _MESSAGE_BYTES},
        ) as (agent, process):
            talk = asyncio.ensure_future(_talk(agent, prompt, folder))
            gone = asyncio.ensure_future(process.wait())
            await asyncio.wait({talk, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() or isinstance(talk.exception(), ConnectionError):
                talk.cancel()
                raise AgentFailed(f"the agent ended by itself, with exit code {await gone}")
            gone.cancel()
            reason = talk.result()
    except OSError as error:
        raise AgentFailed(f"{command[0]} cannot be started: {error.strerror}") from None
    except RequestError as error:
        raise AgentFailed(f"the agent answered with an error: {error}") from None
    if reason != "end_turn":
        raise AgentFailed(_REASONS.get(reason, f"the agent stopped: {reason}"))


async def _talk(agent: Any, prompt: str, folder: Path) -> str:
    greeted = await agent.initialize(
        protocol_version=PROTOCOL_VERSION,
        client_capabilities=ClientCapabilities(fs=FileSystemCapabilities(), terminal=False),
        client_info=Implementation(name="necrocode", version="0"),
    )
    if greeted.protocol_version != PROTOCOL_VERSION:
        raise AgentFailed(
            f"the agent speaks version {greeted.protocol_version} of the protocol, not {PROTOCOL_VERSION}"
        )
    session = await agent.new_session(cwd=str(folder), mcp_servers=[])
    answer = await agent.prompt(session_id=session.session_id, prompt=[text_block(prompt)])
    return str(answer.stop_reason)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
