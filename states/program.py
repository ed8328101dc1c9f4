"""The program: the lifecycle's table with the handler of each state, bound to a set of ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType

from necrocode.engine.context import Context
from necrocode.engine.driver import Outcome, Program
from necrocode.engine.effects import Json
from necrocode.engine.errors import EngineError
from necrocode.states import (
    allocating,
    cancelling,
    committing,
    failing,
    implementing,
    preparing,
    pushing,
    received,
    recovery,
    registering,
    releasing,
    reporting,
    testing,
    uploading,
)
from necrocode.states.lifecycle import LIFECYCLE
from necrocode.states.ports import Ports

_MODULES: tuple[ModuleType, ...] = (
    received,
    registering,
    allocating,
    preparing,
    implementing,
    testing,
    committing,
    pushing,
    uploading,
    reporting,
    failing,
    cancelling,
    releasing,
)


def coding_program(ports: Ports) -> Program:
    """The lifecycle of a coding task, reaching the world through ``ports``."""
    handlers: dict[str, Callable[[Context], Outcome]] = {
        module.__name__.rpartition(".")[2]: partial(module.handle, ports=ports) for module in _MODULES
    }

    def recover(ctx: Context) -> Mapping[str, Json]:
        return recovery.recover(ctx, ports)

    def park(ctx: Context, fault: EngineError) -> Mapping[str, Json]:
        return recovery.park(ctx, ports, fault)

    return Program(LIFECYCLE, handlers, recover=recover, park=park)
