"""Which names are tracked, and which no tree can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from necrocode.git.objects import TREE, Entry, ObjectStore

_HFS_IGNORED = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF], "")


def git_refuses(name: str) -> bool:
    """Whether git takes no such name into a tree: ``.git``, also as some file systems would read it."""
    if name == ".git":
        return True
    if name[:1] not in (".", "g", "G") and name.isascii():
        return False
    plain = name.translate(_HFS_IGNORED).lower()
    return plain.partition(":")[0].rstrip(" .") in (".git", "git~1")


class Tracked:
    """What the tracked trees hold in one directory, looked up only when a name must be judged."""

    __slots__ = ("_entries", "_name", "_parent", "_store", "_trees")

    def __init__(
        self, store: ObjectStore, trees: Sequence[bytes] | None, parent: Tracked | None = None, name: str = ""
    ) -> None:
        self._store, self._trees, self._parent, self._name = store, trees, parent, name
        self._entries: Mapping[str, Entry] | None = None

    def below(self, name: str) -> Tracked:
        """The same for a directory in this one."""
        return Tracked(self._store, None, self, name)

    @property
    def trees(self) -> Sequence[bytes]:
        """The trees of this directory, the latest last."""
        if self._trees is None:
            assert self._parent is not None
            found = (self._store.read_tree(tree).get(self._name) for tree in self._parent.trees)
            self._trees = [entry[1] for entry in found if entry is not None and entry[0] == TREE]
        return self._trees

    @property
    def entries(self) -> Mapping[str, Entry]:
        """By name; the latest tree that has the name decides."""
        if self._entries is None:
            trees = self.trees
            if len(trees) == 1:
                self._entries = self._store.read_tree(trees[0])
            else:
                self._entries = {k: v for tree in trees for k, v in self._store.read_tree(tree).items()}
        return self._entries
