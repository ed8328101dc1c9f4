"""Walks a repository's files as git would see them: without ``.git`` and without what ``.gitignore`` files exclude."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING

from necrocode.coder.tools.beneath import Beneath, Refused

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_MAX_IGNORE_BYTES = 64 * 1024


class IgnoreRules:
    """The ``.gitignore`` files met so far, by folder."""

    def __init__(self, folder: Beneath) -> None:
        self._folder = folder
        self._specs: dict[str, GitIgnoreSpec | None] = {}

    def excludes(self, path: str, *, is_folder: bool) -> bool:
        """Whether ``path`` itself is excluded; its folders are taken to be included. The deepest rule wins."""
        name = path + "/" * is_folder
        folder = posixpath.dirname(path)
        while True:
            spec = self._spec(folder)
            if spec is not None:
                verdict = spec.check_file(name[len(folder) + 1 :] if folder else name).include
                if verdict is not None:
                    return verdict
            if not folder:
                return False
            folder = posixpath.dirname(folder)

    def excludes_way_to(self, path: str) -> bool:
        """Whether ``path`` or a folder above it is excluded."""
        parts = path.split("/")
        return any(self.excludes("/".join(parts[:count]), is_folder=True) for count in range(1, len(parts) + 1))

    def _spec(self, folder: str) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            self._specs[folder] = self._load(folder)
        return self._specs[folder]

    def _load(self, folder: str) -> GitIgnoreSpec | None:
        try:
            content, _ = self._folder.read(posixpath.join(folder, ".gitignore"), limit=_MAX_IGNORE_BYTES)
        except Refused:
            return None  # none there, or not one that git would read
        from pathspec import GitIgnoreSpec

        lines = content.decode("utf-8", "replace").splitlines()
        try:
            return GitIgnoreSpec.from_lines(lines)
        except ValueError:
            return GitIgnoreSpec.from_lines(line for line in lines if _is_pattern(line))


def listed_files(folder: Beneath, start: str = ".") -> Iterator[tuple[str, int]]:
    """Paths of regular files below ``start`` with a descriptor of their folder, in a stable order.

    Where ``start`` itself is excluded, nothing below it is.
    """
    rules: IgnoreRules | None = IgnoreRules(folder)
    if rules is not None and start != "." and rules.excludes_way_to(start):
        rules = None
    for where, folders, files, fd in folder.walk(start):
        prefix = f"{where}/" if where else ""
        if rules is not None:
            folders[:] = [name for name in folders if not rules.excludes(prefix + name, is_folder=True)]
        for name in files:
            if rules is None or not rules.excludes(prefix + name, is_folder=False):
                yield prefix + name, fd


def outline(folder: Beneath, *, max_entries: int, max_bytes: int) -> list[str]:
    """The repository's top: as many levels of names as fit whole, then folders only by name. Bounded, so that a large
    repository costs no more than a small one.
    """
    rules = IgnoreRules(folder)
    level: list[str] = [""]
    shown: list[str] = []
    while level:
        deeper: list[str] = []
        added: list[str] = []
        for where in level:
            try:
                names = folder.names(where or ".")
            except Refused:
                continue  # gone meanwhile
            for name in names:
                path = posixpath.join(where, name.rstrip("/"))
                if not rules.excludes(path, is_folder=name.endswith("/")):
                    added.append(path + "/" * name.endswith("/"))
                    if name.endswith("/"):
                        deeper.append(path)
            if len(shown) + len(added) > max_entries or _size(shown) + _size(added) > max_bytes:
                return sorted(shown or _fitting(added, max_entries, max_bytes))
        # a folder whose content is listed need not stand for itself
        listed = {f"{where}/" for where in level}
        shown = [path for path in shown if path not in listed] + added
        level = deeper
    return sorted(shown)


def _fitting(paths: list[str], max_entries: int, max_bytes: int) -> list[str]:
    fitting: list[str] = []
    for path in sorted(paths, key=lambda path: not path.endswith("/"))[:max_entries]:
        if _size(fitting) + len(path) > max_bytes:
            break
        fitting.append(path)
    return fitting


def _size(paths: list[str]) -> int:
    return sum(len(os.fsencode(path)) + 1 for path in paths)


def _is_pattern(line: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
