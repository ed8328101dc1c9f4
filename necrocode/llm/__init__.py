"""Adapters of the port ``LLM``: one client for every endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

from necrocode.llm.errors import NotSpent
from necrocode.llm.openai_client import OpenAIChat

__all__ = ["NotSpent", "OpenAIChat"]
