"""Older path of :mod:`necrocode.orchestrator`."""

from necrocode.orchestrator import RunnerOrchestrator

__all__ = ["RunnerOrchestrator"]
