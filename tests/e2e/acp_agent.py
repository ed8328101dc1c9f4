"""A small agent that speaks the Agent Client Protocol: it mends ``greet.py`` in the folder it is given.

    python acp_agent.py [WAY]

``WAY``: ``mend`` asks for permission and does it; ``slow`` waits three seconds in between; ``die`` is what it says.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from acp import (
    PROTOCOL_VERSION,
    InitializeResponse,
    NewSessionResponse,
    PromptResponse,
    run_agent,
    start_tool_call,
    update_agent_message_text,
)
from acp.schema import PermissionOption, ToolCallUpdate

WAY = sys.argv[1] if len(sys.argv) > 1 else "mend"


class Mender:
    """The agent's side."""

    folder = Path()
    client: Any = None

    def on_connect(self, conn: Any) -> None:
        self.client = conn

    async def initialize(self, protocol_version: int, **_: Any) -> InitializeResponse:
        return InitializeResponse(protocol_version=min(protocol_version, PROTOCOL_VERSION))

    async def new_session(self, cwd: str, **_: Any) -> NewSessionResponse:
        self.folder = Path(cwd)
        return NewSessionResponse(session_id="one")

    async def prompt(self, prompt: list[Any], session_id: str, **_: Any) -> PromptResponse:
        if WAY == "die":
            os._exit(9)
        if "Greet by name" not in prompt[0].text:
            return PromptResponse(stop_reason="refusal")
        with (self.folder / "runs.txt").open("a") as runs:
            runs.write("x\n")
        await self.client.session_update(session_id, start_tool_call("1", "edit greet.py"))
        options = [
            PermissionOption(option_id="no", name="No", kind="reject_once"),
            PermissionOption(option_id="yes", name="Yes", kind="allow_once"),
        ]
        asked = await self.client.request_permission(
            session_id=session_id, tool_call=ToolCallUpdate(tool_call_id="1"), options=options
        )
        if asked.outcome.option_id != "yes":
            return PromptResponse(stop_reason="cancelled")
        if WAY == "slow":
            await asyncio.sleep(3)
        file = self.folder / "greet.py"
        file.write_text(file.read_text().replace("'hello'", "f'hello, {name}'"))
        await self.client.session_update(session_id, update_agent_message_text("I mended "))
        await self.client.session_update(session_id, update_agent_message_text("the greeting."))
        return PromptResponse(stop_reason="end_turn")


if __name__ == "__main__":
    asyncio.run(run_agent(Mender()))  # type: ignore[arg-type]
