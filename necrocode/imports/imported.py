"""What an import has found, and what an input that cannot be imported is told."""

from __future__ import annotations

from dataclasses import dataclass

from necrocode.errors import InvalidInput
from necrocode.registry.tasksets import TaskSet


@dataclass(frozen=True, slots=True)
class Imported:
    """A task set out of somebody's file, and what there was to say about it."""

    task_set: TaskSet
    warnings: tuple[str, ...] = ()


class InvalidImport(InvalidInput):
    """A file that cannot be imported; nothing was."""
