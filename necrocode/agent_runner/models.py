"""Older path of the models."""

from necrocode.orchestrator import RunnerResult
from necrocode.states.ports import SlotAllocation
from necrocode.states.task import TaskContext

__all__ = ["RunnerResult", "SlotAllocation", "TaskContext"]
