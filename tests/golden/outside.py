"""The world outside for a replay: whoever touches it is found out."""

from __future__ import annotations

from typing import Any, NoReturn

from necrocode.coder import ToolLoopCoder
from necrocode.config import RunnerConfig, thawed
from necrocode.engine.journal import Journal
from necrocode.states.ports import Ports
from necrocode.wiring import coder_settings


class Touched(AssertionError):
    """A handler reached outside."""


class _Refusing:
    """A port that refuses every call."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        def refuse(*_: object, **__: object) -> NoReturn:
            raise Touched(f"{self._name}.{attribute} was called")

        return refuse


class _Workspaces(_Refusing):
    def open(self, *_: object, **__: object) -> Any:
        """Nothing is touched by looking which one it would be."""
        return _Refusing("workspace")


class _Credentials(_Refusing):
    def wipe(self) -> None:
        """There are none."""


def refusing_ports(journal: Journal, run_id: str) -> Ports:
    """The ports of a replay of this run: its coder is the real one, as it was configured."""
    config = thawed(journal.settings(run_id), RunnerConfig())
    llm, commands, refusing = _Refusing("llm"), _Refusing("commands"), _Refusing
    ports: dict[str, Any] = {name: refusing(name) for name in ("registry", "pool", "folders", "artifacts", "log")}
    return Ports(
        **ports,
        workspaces=_Workspaces("workspaces"),
        commands=commands,
        coder=ToolLoopCoder(llm, commands, coder_settings(config)),
        credentials=_Credentials("credentials"),
    )
