"""A world per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from necrocode.coder import CoderSettings
from tests.necrocode.coder.world import ScriptedModel, Seam, World

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes worlds with a broken ``calc.py``; ``settings`` are those of the coder."""
    made: list[World] = []

    def make(answers: Sequence[Mapping[str, Any]], *, forever: bool = False, **settings: Any) -> World:
        seam = Seam()
        model = ScriptedModel(answers, seam, forever=forever)
        world = World(tmp_path / f"world-{len(made)}", model, seam, CoderSettings(model="scripted", **settings))
        world.files(calc_py="def add(a, b):\n    return a * b\n", README="A calculator.\n")
        made.append(world)
        return world

    yield make
    for world in made:
        world.journal.close()
