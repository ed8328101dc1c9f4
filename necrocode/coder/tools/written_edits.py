"""Edits that a model writes into its answer instead of calling a tool, in the formats that models were trained on.

==================  ====================================================================================================
SEARCH/REPLACE      a path on its own line, ``<<<<<<< SEARCH``, old lines, ``=======``, new lines, ``>>>>>>> REPLACE``;
                    nothing to search for makes the file
apply_patch         ``*** Begin Patch`` … ``*** End Patch``, with ``*** Add File:``, ``*** Update File:`` and
                    ``*** Delete File:``; ``*** Move to:``, ``@@`` with lines above a hunk, ``*** End of File``
unified diff        ``--- a/path``, ``+++ b/path``, hunks; line numbers are not trusted
==================  ====================================================================================================

Each becomes calls of the file tools, which find their place by its text, and refuse what they cannot find. A patch is
one call a file: all of its hunks there are carried out, or none. Other files of the same answer stand for themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from necrocode.coder.tools.offer import Malformed

Edit: TypeAlias = tuple[str, dict[str, Any]]
"""A tool's name and its arguments."""

_HEAD = re.compile(r"<{5,9} SEARCH>?\s*")
_DIVIDER = re.compile(r"={5,9}\s*")
_TAIL = re.compile(r">{5,9} REPLACE\s*")
_FENCE = re.compile(r"\s*(```|~~~).*")
_FILE = re.compile(r"\*\*\* (Add|Update|Delete) File: (.+)")
_MOVE = re.compile(r"\*\*\* Move to: (.+)")
_BEGIN, _END, _END_OF_FILE = "*** Begin Patch", "*** End Patch", "*** End of File"
_NOWHERE = "/dev/null"
_HEREDOC = re.compile(r"\s*apply_patch\s*<<-?\s*(['\"]?)(?P<mark>\w+)\1\n(?P<patch>.*)\n(?P=mark)\s*", re.DOTALL)


def edits_in(text: str) -> list[Edit]:
    """The edits in an answer, in order; none if it holds none of these formats.

    Raises :class:`Malformed` for one that was begun and is not whole: half an edit is worse than none.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    stripped = [line.rstrip() for line in lines]
    if _BEGIN in stripped:
        return _patches(lines)
    if any(_HEAD.fullmatch(line) for line in lines):
        return _blocks(lines)
    if any(one.startswith("--- ") and other.startswith("+++ ") for one, other in pairwise(lines)):
        return _diffs(lines)
    return []


def edit_in_command(command: str) -> Edit | None:
    """The edit that a shell command stands for: ``apply_patch`` and a patch as its input, as models learned to call it.

    ``None`` for any other command. :class:`Malformed` as :func:`edits_in`, and for a patch of several files: a call has
    one result.
    """
    found = _HEREDOC.fullmatch(command)
    edits = edits_in(found["patch"]) if found else []
    if len(edits) > 1:
        raise Malformed("A patch in a command changes one file: make a call for each, so that each has its result.")
    return edits[0] if edits else None


def one_by_one(edits: Sequence[Edit]) -> list[Edit]:
    """Patches taken apart into an ``edit_file`` for each hunk, as earlier revisions read them."""
    apart: list[Edit] = []
    for name, given in edits:
        if name != "patch_file":
            apart.append((name, given))
        elif "move_to" in given:
            raise Malformed(
                f"{given['path']}: a patch cannot move files here; write the new file, and delete the old one."
            )
        else:
            apart += [_replacement(given["path"], hunk["old"], hunk["new"]) for hunk in given["hunks"]]
    return apart


# --- SEARCH/REPLACE


def _blocks(lines: Sequence[str]) -> list[Edit]:
    edits: list[Edit] = []
    path: str | None = None
    at = 0
    while at < len(lines):
        if not _HEAD.fullmatch(lines[at]):
            at += 1
            continue
        path = _path_before(lines, at) or path
        if path is None:
            raise Malformed("Write the file's path on a line of its own before <<<<<<< SEARCH.")
        old, at = _until(lines, at + 1, _DIVIDER, "=======")
        new, at = _until(lines, at, _TAIL, ">>>>>>> REPLACE")
        edits.append(_replacement(path, old, new))
    return edits


def _path_before(lines: Sequence[str], at: int) -> str | None:
    """The path in one of the three lines before a block, fences left out."""
    for line in reversed(lines[max(0, at - 3) : at]):
        if _TAIL.fullmatch(line):
            return None
        name = line.strip("*#`: \t")
        if not re.search(r"\w", name) or _FENCE.fullmatch(line):
            continue
        return name if re.fullmatch(r"[^\s<>|\"]+", name) else None
    return None


def _until(lines: Sequence[str], at: int, end: re.Pattern[str], words: str) -> tuple[list[str], int]:
    """The lines up to one that ``end`` matches, and the number of the line after that."""
    for number in range(at, len(lines)):
        if end.fullmatch(lines[number]):
            return list(lines[at:number]), number + 1
    raise Malformed(f"A SEARCH block has no line {words!r}: nothing was changed.")


# --- apply_patch


def _patches(lines: Sequence[str]) -> list[Edit]:
    edits: list[Edit] = []
    inside = False
    at = 0
    while at < len(lines):
        line = lines[at].rstrip()
        at += 1
        if line == _BEGIN:
            inside = True
        elif line == _END:
            inside = False
        elif inside and (found := _FILE.fullmatch(line)):
            body, at = _body(lines, at)
            edits += _file_edits(found[1], found[2].strip(), body)
        elif inside and line.strip():
            raise Malformed(f"In a patch every change stands under '*** Update File: path' or the like, not {line!r}.")
    if inside:
        raise Malformed(f"A patch has no line {_END!r}: nothing was changed.")
    return edits


def _body(lines: Sequence[str], at: int) -> tuple[list[str], int]:
    """The lines of one file's part, and the number of the line after it."""
    for number in range(at, len(lines)):
        line = lines[number].rstrip()
        if line == _END or _FILE.fullmatch(line):
            return list(lines[at:number]), number
    return list(lines[at:]), len(lines)


def _file_edits(what: str, path: str, body: Sequence[str]) -> list[Edit]:
    if what == "Delete":
        return [("delete_file", {"path": path})]
    if what == "Add":
        if not all(line.startswith("+") for line in body if line.strip()):
            raise Malformed(f"{path}: every line of a file that is added begins with '+'.")
        return [("write_file", {"path": path, "content": "".join(f"{line[1:]}\n" for line in body if line)})]
    move = _MOVE.fullmatch(body[0].rstrip()) if body else None
    return [_patch(path, body[1:] if move else body, move_to=move[1].strip() if move else None)]


# --- unified diff


def _diffs(lines: Sequence[str]) -> list[Edit]:
    edits: list[Edit] = []
    at = 0
    while at + 1 < len(lines):
        if not (lines[at].startswith("--- ") and lines[at + 1].startswith("+++ ")):
            at += 1
            continue
        before, after = (_diffed(line) for line in lines[at : at + 2])
        at += 2
        body: list[str] = []
        while at < len(lines) and lines[at][:1] in ("@", " ", "+", "-", "\\", "") and not _begins(lines, at):
            body.append(lines[at])
            at += 1
        while body and not body[-1]:
            # what separates it from the words that follow
            body.pop()
        if after == _NOWHERE:
            edits.append(("delete_file", {"path": before}))
        elif before == _NOWHERE:
            content = "".join(f"{line[1:]}\n" for line in body if line.startswith("+"))
            edits.append(("write_file", {"path": after, "content": content}))
        else:
            hunks = [line for line in body if not line.startswith("\\")]
            edits.append(_patch(before, hunks, move_to=None if after == before else after))
    return edits


def _begins(lines: Sequence[str], at: int) -> bool:
    return lines[at].startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ ")


def _diffed(line: str) -> str:
    path = line[4:].split("\t")[0].strip()
    return path if path == _NOWHERE else re.sub(r"\A[ab]/", "", path)


# --- both


def _patch(path: str, body: Sequence[str], *, move_to: str | None = None) -> Edit:
    """One file's hunks as a call: what a hunk keeps and takes away is its old text, what it keeps and adds the new."""
    hunks: list[dict[str, Any]] = []
    after: list[str] = []
    lines: list[str] = []
    for line in (*body, "@@"):
        ends = line.rstrip() == _END_OF_FILE
        if not ends and not line.startswith("@@"):
            if line and line[0] not in " +-":
                raise Malformed(f"{path}: a line of a hunk begins with ' ', '+' or '-', not like {line[:60]!r}.")
            lines.append(line)
            continue
        if any(lines):
            hunks.append(_hunk(path, after, lines, at_end=ends))
            after = []
        lines = []
        if not ends:
            after.append(_above(line))
    hunks = [hunk for hunk in hunks if hunk["old"] != hunk["new"]]
    if not hunks and move_to is None:
        raise Malformed(f"{path}: the patch changes nothing.")
    arguments: dict[str, Any] = {"path": path, "hunks": hunks}
    return "patch_file", arguments if move_to is None else {**arguments, "move_to": move_to}


def _hunk(path: str, after: Sequence[str], lines: list[str], *, at_end: bool) -> dict[str, Any]:
    while not lines[-1]:
        # what separates it from what follows
        lines.pop()
    old = [line[1:] for line in lines if line[:1] != "+"]
    new = [line[1:] for line in lines if line[:1] != "-"]
    if old and not any(line.strip() for line in old):
        raise Malformed(f"{path}: a hunk that only adds needs some lines around it, to be found.")
    return {"after": list(after) if any(after) else [], "old": old, "new": new, "at_end": at_end}


def _above(header: str) -> str:
    """The line that a hunk's header names; empty if it only has line numbers, which are not trusted."""
    if re.match(r"@@ -\d+(,\d+)? \+\d+(,\d+)? @@", header):
        return ""
    named = header[2:].removesuffix("@@").removeprefix(" ").rstrip()
    return "" if named.strip(" .") == "" else named


def _replacement(path: str, old: Sequence[str], new: Sequence[str]) -> Edit:
    if not old:
        return "write_file", {"path": path, "content": "".join(f"{line}\n" for line in new)}
    # whole lines: what they are replaced by takes its place, line ends and all
    return "edit_file", {
        "path": path,
        "old_text": "".join(f"{line}\n" for line in old),
        "new_text": "".join(f"{line}\n" for line in new),
    }
