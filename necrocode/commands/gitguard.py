"""Puts back what git obeys in a slot's ``.git``, where the sandbox cannot make that read-only: its configuration, its
hooks, its attributes, its index and branches, and the same of its submodules.

A command may change them, but nobody who runs git there later meets a program that it planted. Standard library only:
the supervisor imports it.
"""

from __future__ import annotations

# pathlib would double the start-up of the supervisor
# ruff: noqa: PTH101, PTH102, PTH108, PTH112, PTH114, PTH115, PTH120, PTH123
# ruff: noqa: PTH208, PTH211
import base64
import json
import os
import stat

from necrocode.commands.files import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs a tenth of the start-up
    from collections.abc import Iterator

    Kept = dict[str, tuple[str, str, int]]
    """By path below the folder: ``file``, ``link`` or ``folder``, its content (base64) or target, its mode."""

KEPT_FILE = "git-kept.json"
"""In a command's folder, for as long as something is to be put back."""

_OBEYED = (
    *("HEAD", "commondir", "config", "config.worktree", "gitdir", "hooks", "index", "info"),
    *("objects/info/alternates", "packed-refs", "refs"),
    # of a git that was killed: others would wait for it
    *("HEAD.lock", "config.lock", "index.lock", "packed-refs.lock"),
)
"""Below a git folder. ``info`` holds attributes; an index may name a folder a submodule, into which git then goes."""
_NESTS = ("modules", "worktrees")
"""Below a git folder: git folders of others, themselves to be guarded."""
_MAX_DEPTH = 8
_MAX_BYTES = 1 << 26
"""Of a file that is kept; no configuration or index is so large, and what is would fill the command's folder."""


class GitGuard:
    """Keeps what git obeys below ``places`` (git folders, or the files that stand for them) in ``folder``."""

    def __init__(self, places: list[str], folder: str) -> None:
        self._places = places
        self._file = f"{folder}/{KEPT_FILE}"

    def keep(self) -> None:
        """Write down how it is, before the command."""
        if self._places:
            write_file(self._file, json.dumps({place: _read(place) for place in self._places}).encode())

    def put_back(self) -> None:
        """Put it back, when no process of the command is left. Nothing, if it was put back already."""
        put_back(self._file)


def put_back(kept_file: str) -> None:
    """Put back what is written down in ``kept_file``, and remove that."""
    try:
        with open(kept_file, "rb") as file:
            kept = json.load(file)
    except FileNotFoundError:
        return
    for place, before in kept.items():
        _restore(place, before, _read(place))
    os.unlink(kept_file)


def _read(place: str) -> Kept:
    """Everything that git obeys at ``place``, and what it is."""
    found: Kept = {}
    for path in _walk(place):
        whole = f"{place}/{path}" if path else place
        mode = os.lstat(whole).st_mode
        bits = stat.S_IMODE(mode)
        if stat.S_ISLNK(mode):
            found[path] = ("link", os.readlink(whole), bits)
        elif stat.S_ISDIR(mode):
            found[path] = ("folder", "", bits)
        elif stat.S_ISREG(mode) and os.lstat(whole).st_size <= _MAX_BYTES:
            try:
                descriptor = os.open(whole, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except PermissionError:
                found[path] = ("file", "?", bits)  # unreadable now: it is replaced, if it was readable
                continue
            with open(descriptor, "rb") as file:
                found[path] = ("file", base64.b64encode(file.read()).decode("ascii"), bits)
        else:
            found[path] = ("other", "", bits)
    return found


def _walk(place: str) -> Iterator[str]:
    """The paths below ``place`` that matter, parents first; ``""`` is itself."""
    if not os.path.lexists(place):
        return
    yield ""
    if os.path.isdir(place) and not os.path.islink(place):
        yield from _git_folder(place, "", 0)


def _git_folder(place: str, below: str, depth: int) -> Iterator[str]:
    for name in _OBEYED:
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path = below + "/".join(parts[:count])
            if not os.path.lexists(f"{place}/{path}"):
                break
            yield path
            if os.path.islink(f"{place}/{path}"):
                break
        else:
            yield from _all_below(place, below + name, 0)
    for name in _NESTS:
        yield from _nests(place, below + name, depth)


def _nests(place: str, path: str, depth: int) -> Iterator[str]:
    """``modules`` and the like: their git folders lie any number of folders deeper."""
    whole = f"{place}/{path}"
    if depth > _MAX_DEPTH or not os.path.lexists(whole):
        return
    yield path
    if os.path.islink(whole) or not os.path.isdir(whole):
        return
    for name in sorted(os.listdir(whole)):
        inner = f"{path}/{name}"
        if any(os.path.lexists(f"{place}/{inner}/{sign}") for sign in ("HEAD", "config", "gitdir")):
            yield inner
            if not os.path.islink(f"{place}/{inner}"):
                yield from _git_folder(place, f"{inner}/", depth + 1)
        else:
            yield from _nests(place, inner, depth + 1)


def _all_below(place: str, path: str, depth: int) -> Iterator[str]:
    whole = f"{place}/{path}"
    if depth > _MAX_DEPTH or os.path.islink(whole) or not os.path.isdir(whole):
        return
    for name in sorted(os.listdir(whole)):
        yield f"{path}/{name}"
        yield from _all_below(place, f"{path}/{name}", depth + 1)


def _restore(place: str, before: Kept, now: Kept) -> None:
    """Make ``place`` as it was. Links that the command left are removed, never followed."""
    above = os.path.dirname(place)
    if os.path.realpath(above) != above:
        return  # the command put a link in its way: git does not go there either
    for path in sorted(now, reverse=True):  # what is inside comes first
        if path not in before or before[path][0] != now[path][0]:
            _remove(f"{place}/{path}" if path else place)
    for path in sorted(before):
        kind, content, mode = before[path]
        if now.get(path) == before[path]:
            continue
        whole = f"{place}/{path}" if path else place
        if _parent_is_a_link(place, path):
            continue
        if kind == "folder":
            if not os.path.isdir(whole):
                os.mkdir(whole)
            os.chmod(whole, mode)
        elif kind == "link":
            _remove(whole)
            os.symlink(content, whole)
        elif kind == "file" and content != "?":
            _remove(whole)
            write_file(whole, base64.b64decode(content))
            os.chmod(whole, mode)


def _parent_is_a_link(place: str, path: str) -> bool:
    parts = path.split("/")[:-1] if path else []
    return any(os.path.islink("/".join([place, *parts[:count]])) for count in range(len(parts) + 1) if path)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil  # it takes longer than all else here

        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)
