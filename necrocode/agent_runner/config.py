"""Older path of :mod:`necrocode.config`."""

from necrocode.config import LLMConfig, RunnerConfig

__all__ = ["LLMConfig", "RunnerConfig"]
