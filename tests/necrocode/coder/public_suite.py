"""Other projects' test suites for edit formats, run on our reader: ``python -m tests.necrocode.coder.public_suite``.

A suite's file is run as it is. What it imports from its own project are stand-ins, made here, which hand the texts to
:func:`necrocode.coder.tools.written_edits.edits_in` and carry out what that reads with the file tools.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from necrocode.coder.tools import files
from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.coder.tools.offer import Malformed
from necrocode.coder.tools.written_edits import edits_in

TOOLS: Mapping[str, Callable[..., object]] = {
    "edit_file": files.edit_file,
    "write_file": files.write_file,
    "delete_file": files.delete_file,
    "patch_file": files.patch_file,
}
#: What a suite looks for in an error's words, by what stands in ours.
_WORDS: Mapping[str, str] = {
    "has no line": "Invalid Anchor",
    "no line '>>>>>>> REPLACE'": "Expected `>>>>>>> REPLACE` or `=======`",
    "file's path": "filename",
}


def applied(folder: Path, text: str) -> None:
    """Carry out the edits that stand in ``text``. ``ValueError`` for what is not read, or has no place."""
    try:
        with Beneath(folder) as beneath:
            for name, arguments in edits_in(text):
                TOOLS[name](beneath, **arguments)
    except (Malformed, Refused) as error:
        raise _translated(error) from None


def _translated(error: Exception) -> ValueError:
    theirs = [word for ours, word in _WORDS.items() if ours in str(error)]
    return ValueError(f"{error} ({', '.join(theirs)})")


# --- openai-agents


def apply_diff(input: str, diff: str, mode: str = "default") -> str:
    """A file's content after a patch of it."""
    what = "Add" if mode == "create" else "Update"
    with TemporaryDirectory() as folder:
        file = Path(folder, "f")
        if mode != "create":
            file.write_bytes(input.encode())
        applied(Path(folder), f"*** Begin Patch\n*** {what} File: f\n{diff}\n*** End Patch\n")
        return file.read_bytes().decode()


# --- aider


def find_original_update_blocks(content: str, *_: object, **__: object) -> Iterator[tuple[str, str, str]]:
    """Path, old text and new text of each block."""
    try:
        edits = edits_in(content)
    except Malformed as error:
        raise _translated(error) from None
    for name, given in edits:
        yield (
            (given["path"], "", given["content"])
            if name == "write_file"
            else (given["path"], given["old_text"], given["new_text"])
        )


def replace_most_similar_chunk(whole: str, part: str, replace: str) -> str:
    """``whole`` with ``part`` replaced."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "f")
        file.write_bytes(whole.encode())
        applied(Path(folder), f"f\n<<<<<<< SEARCH\n{part}=======\n{replace}>>>>>>> REPLACE\n")
        return file.read_bytes().decode()


class Coder:
    """Says something, and carries out what stands in it."""

    partial_response_content = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def create(cls, *_: object, fnames: Sequence[str] = (), **__: object) -> Coder:
        """One that works where its files are."""
        return cls((Path.cwd() / fnames[0]).parent)

    def send(self) -> object:
        """Replaced by the suite."""

    def run(self, **_: object) -> None:
        """One answer."""
        self.send()
        applied(self._folder, self.partial_response_content)


class _Chdir:
    """Works in a temporary folder."""

    def __enter__(self) -> None:
        self._before, self._folder = Path.cwd(), TemporaryDirectory()
        os.chdir(self._folder.name)

    def __exit__(self, *_: object) -> None:
        os.chdir(self._before)
        self._folder.cleanup()


def _nothing(*_: object, **__: object) -> object:
    return SimpleNamespace()


STAND_INS: Mapping[str, Mapping[str, Any]] = {
    "agents": {"apply_diff": apply_diff},
    "aider": {},
    "aider.coders": {"Coder": Coder},
    "aider.coders.editblock_coder": {
        "find_original_update_blocks": find_original_update_blocks,
        "replace_most_similar_chunk": replace_most_similar_chunk,
    },
    "aider.dump": {"dump": _nothing},
    "aider.io": {"InputOutput": _nothing},
    "aider.models": {"Model": _nothing},
    "aider.utils": {"ChdirTemporaryDirectory": _Chdir},
}


def main(arguments: Sequence[str]) -> int:
    """Run pytest with ``arguments``, the stand-ins in place."""
    for name, content in STAND_INS.items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
        above, _, last = name.rpartition(".")
        if above:
            setattr(sys.modules[above], last, module)
    return int(pytest.main(list(arguments)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
