"""The first coder: a loop of model answers and tool calls, each an effect of the engine's."""

from __future__ import annotations

from necrocode.coder.loop import ToolLoopCoder
from necrocode.coder.settings import CoderSettings, Progress, ProgressEvent

__all__ = ["CoderSettings", "Progress", "ProgressEvent", "ToolLoopCoder"]
