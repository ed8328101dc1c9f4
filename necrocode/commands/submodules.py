"""Where a slot's submodules have their ``.git``: git goes there by itself, and obeys what it finds."""

from __future__ import annotations

import os
from pathlib import Path

_GITLINK = 0o160000


def submodule_places(slot: Path) -> list[str]:
    """The ``.git`` of each submodule that is checked out in ``slot`` (a real path), as its index names them.

    Only the index file is read: nothing of the slot's configuration is obeyed. None, where it cannot be read.
    """
    if not (slot / ".git/modules").is_dir():
        return []
    import pygit2

    try:
        index = pygit2.Index(str(slot / ".git/index"))
    except (OSError, pygit2.GitError):
        return []
    places = [f"{slot}/{entry.path}/.git" for entry in index if entry.mode == _GITLINK]
    return [place for place in places if os.path.lexists(place)]
