"""Playbooks as files: a user's, a repository's, and those that necrocode has for projects of a known kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from necrocode.documents import UnreadableDocument, parse, read_bounded
from necrocode.engine.errors import TaskError
from necrocode.errors import InvalidInput, Problem
from necrocode.states.plan import MAX_PLAYBOOK_BYTES
from necrocode.states.playbook import Playbook
from necrocode.validation import problems_of

DEFAULTS = Path(__file__).parent / "defaults"
ORDER = ("pytest", "python", "cargo", "go", "npm", "make")
"""Kinds of projects, each a file in :data:`DEFAULTS`: the first that a repository looks like is taken."""


class InvalidPlaybook(InvalidInput):
    """A playbook that cannot be used."""


class PlaybookFiles:
    """The port :class:`~necrocode.states.ports.Playbooks`."""

    def read(self, content: bytes, what: str) -> Playbook:
        """The playbook in a file. See the port."""
        try:
            return read_playbook(content, what)
        except InvalidPlaybook as error:
            raise TaskError(str(error), stop_reason="invalid_playbook") from None

    def detected(self, holds: Callable[[str], bool]) -> Playbook | None:
        """The playbook of the first kind whose ``detect`` holds. See the port."""
        for kind in ORDER:
            document: Mapping[str, Any] = parse((DEFAULTS / f"{kind}.yaml").read_bytes(), "yaml")
            if holds(document["detect"]):
                return Playbook.model_validate({"name": kind, "steps": document["steps"]})
        return None


def load_playbook(path: Path) -> Playbook:
    """The playbook in a user's own file. Raises :class:`InvalidPlaybook` with every problem and its place."""
    what = f"playbook {path}"
    try:
        if path.exists() and not path.is_file():
            raise UnreadableDocument("is no file")
        content = read_bounded(path, max_bytes=MAX_PLAYBOOK_BYTES)
    except UnreadableDocument as error:
        raise InvalidPlaybook(what, [Problem("", f"the file {error}")]) from None
    return read_playbook(content, what)


def read_playbook(content: bytes, what: str) -> Playbook:
    """The playbook in YAML or JSON; errors call it ``what``. Raises :class:`InvalidPlaybook`."""
    try:
        document = parse(content, None)
    except UnreadableDocument as error:
        raise InvalidPlaybook(what, [Problem("", f"the file {error}")]) from None
    if not isinstance(document, dict):
        raise InvalidPlaybook(what, [Problem("", "the file must hold a mapping with steps")])
    try:
        return Playbook.model_validate(document)
    except ValidationError as error:
        raise InvalidPlaybook(what, problems_of(error)) from None
