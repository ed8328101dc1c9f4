"""What is known of tests beyond how their commands end: JUnit files, and playbooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from necrocode.states.ports.commands import CommandSpec

if TYPE_CHECKING:
    from necrocode.states.junit import Report
    from necrocode.states.playbook import Playbook


@dataclass(frozen=True, slots=True)
class TakenReport:
    """What a command left of JUnit files."""

    #: ``None`` if it left none that can be read.
    report: Report | None
    #: What is wrong with others, each in a sentence.
    problems: tuple[str, ...] = ()


class JUnitFiles(Protocol):
    """Has test runners say what became of each test, in files in the slot that nobody vouches for."""

    def variables(self, spec: CommandSpec) -> Mapping[str, str]:
        """What the command's environment must hold over ``spec.env``, so that a runner that is known writes a file."""

    def stamps(self, slot_path: Path, patterns: Sequence[str]) -> Mapping[str, Any]:
        """What is there already of files that match, as JSON, so that they are not taken for a later command's."""

    def take(self, spec: CommandSpec, patterns: Sequence[str], stamps: Mapping[str, Any]) -> TakenReport:
        """Read what the command wrote, and remove what only :meth:`variables` had it write.

        Whatever lies there (a link, a FIFO, gigabytes, anything but JUnit XML) is at most a problem.
        """


class Playbooks(Protocol):
    """Reads playbooks, and has some of its own."""

    def read(self, content: bytes, what: str) -> Playbook:
        """The playbook in a file. :class:`TaskError` ``invalid_playbook``, with every problem and its place."""

    def detected(self, holds: Callable[[str], bool]) -> Playbook | None:
        """The one for a repository of which the first of the known conditions ``holds``."""
