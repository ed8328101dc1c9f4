"""The file tools: ``read_file``, ``edit_file``, ``write_file``, and what the text of an answer may ask for besides.

Each takes the open folder and the call's arguments, and raises :class:`Refused` with words for the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from stat import S_IMODE
from typing import Any

from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.coder.tools.patching import patched
from necrocode.coder.tools.text import Text, edit, printable

#: Characters of a file shown at once.
SHOWN_CHARACTERS = 16_000
SHOWN_LINES = 400
LINE_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class Changed:
    """What a file tool did."""

    #: Said to the model.
    content: str
    #: The files that changed, where they really are.
    paths: tuple[str, ...] = ()


def read_file(folder: Beneath, path: str, start_line: int | None = None, end_line: int | None = None) -> str:
    """Numbered lines of a text file, a page at a time; the names in a directory."""
    plain = folder.relative(path)
    try:
        content, _ = folder.read(plain)
    except Refused as error:
        if "is a directory" not in str(error):
            raise
        names = folder.names(plain)
        more = f"\n… and {len(names) - SHOWN_LINES} more" if len(names) > SHOWN_LINES else ""
        return f"{plain} is a directory with:\n" + "\n".join(names[:SHOWN_LINES]) + more
    lines = Text.decode(content, plain).lines
    if not lines:
        return f"{plain} is empty"
    first = max(1, start_line or 1)
    last = min(len(lines), end_line or len(lines))
    if first > len(lines):
        raise Refused(f"{plain} has only {len(lines)} lines")
    if last < first:
        raise Refused(f"end_line ({last}) comes before start_line ({first})")
    return _page(plain, lines, first, last)


def edit_file(folder: Beneath, path: str, old_text: str, new_text: str, *, replace_all: bool = False) -> Changed:
    """Replace a piece of a text file: see :func:`necrocode.coder.tools.text.edit`."""
    plain = folder.relative(path)
    content, _ = folder.read(plain)
    edited = edit(Text.decode(content, plain), old_text, new_text, replace_all=replace_all, name=plain)
    real = folder.write(plain, edited.text.encode())
    told = f"{plain} edited" + (f" in {edited.times} places" if edited.times > 1 else "")
    if edited.differed:
        told += f" (old_text was found although {' and '.join(edited.differed)} differed; look at the result)"
    return Changed(told, (real,))


def write_file(folder: Beneath, path: str, content: str) -> Changed:
    """Create a file or replace all of it. A file that had CRLF line ends or a byte-order mark keeps them."""
    plain = folder.relative(path)
    try:
        new = content.encode()
    except UnicodeEncodeError:
        raise Refused("content holds characters that are not valid Unicode") from None
    if not folder.exists(plain):
        return Changed(f"{plain} created ({_lines(content)})", (folder.write(plain, new),))
    old, _ = folder.read(plain)
    if b"\0" not in old:
        before = Text.decode(old, plain)
        if before.crlf and before.ends_mostly_crlf and "\r" not in content:
            content = content.replace("\n", "\r\n")
        if before.bom and not content.startswith("\ufeff"):
            content = "\ufeff" + content
        new = content.encode()
    if new == old:
        return Changed(f"{plain} already has exactly this content: nothing changed")
    return Changed(f"{plain} replaced ({_lines(content)})", (folder.write(plain, new),))


def delete_file(folder: Beneath, path: str) -> Changed:
    """Delete a file."""
    plain = folder.relative(path)
    return Changed(f"{plain} deleted", (folder.remove(plain),))


def patch_file(folder: Beneath, path: str, hunks: Sequence[Mapping[str, Any]], move_to: str | None = None) -> Changed:
    """Carry out a patch of one file, all of its hunks or none, and give it another name with ``move_to``.

    The hunks are those of :mod:`necrocode.coder.tools.patching`. A file that is in the way is not replaced.
    """
    plain = folder.relative(path)
    content, status = folder.read(plain)
    target = plain if move_to is None else folder.relative(move_to)
    if target != plain and folder.exists(target):
        raise Refused(f"{plain} cannot be moved to {target}, which exists; delete that first")
    edited = patched(Text.decode(content, plain), hunks, plain) if hunks else None
    told = plain + (
        f" edited in {edited.times} places" if edited is not None and edited.times > 1 else " edited" * bool(hunks)
    )
    if edited is not None and edited.differed:
        told += f" (its lines were found although {' and '.join(edited.differed)} differed; look at the result)"
    real = folder.write(
        target, content if edited is None else edited.text.encode(), mode=S_IMODE(status.st_mode) & 0o777
    )
    if target == plain:
        return Changed(told, (real,))
    return Changed(f"{told}{' and' * bool(hunks)} moved to {target}", (real, folder.remove(plain)))


def _page(name: str, lines: list[str], first: int, last: int) -> str:
    shown: list[str] = []
    size = 0
    for number in range(first, min(last, first + SHOWN_LINES - 1) + 1):
        line = printable(lines[number - 1])
        if len(line) > LINE_CHARACTERS:
            line = line[:LINE_CHARACTERS] + f"… ({len(line) - LINE_CHARACTERS} more characters)"
        size += len(line) + 8
        if size > SHOWN_CHARACTERS and shown:
            break
        shown.append(f"{number}\t{line}")
    until = first + len(shown) - 1
    head = f"{name}, lines {first}-{until} of {len(lines)}"
    if until < last:
        head += f" (go on with start_line {until + 1})"
    return head + "\n" + "\n".join(shown)


def _lines(content: str) -> str:
    count = content.count("\n") + (not content.endswith("\n") and content != "")
    return f"{count} line" + "s" * (count != 1)
