"""Edits in the text of an answer: which are understood, which are refused, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from necrocode.coder.tools import files
from necrocode.coder.tools.beneath import Beneath
from necrocode.coder.tools.offer import Malformed
from necrocode.coder.tools.written_edits import edits_in
from tests.necrocode.coder.conftest import MakeWorld
from tests.necrocode.coder.world import answer, finish

SEARCH_REPLACE = """I mend it:

calc.py
```python
<<<<<<< SEARCH
    return a * b
=======
    return a + b
>>>>>>> REPLACE
```
"""
BEGIN_PATCH = """*** Begin Patch
*** Update File: calc.py
@@ def add(a, b):
 def add(a, b):
-    return a * b
+    return a + b
*** End Patch"""
UNIFIED = """```diff
--- a/calc.py
+++ b/calc.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a * b
+    return a + b
```"""


def applied(folder: Path, text: str) -> None:
    tools: dict[str, Callable[..., object]] = {
        "edit_file": files.edit_file,
        "write_file": files.write_file,
        "delete_file": files.delete_file,
    }
    with Beneath(folder) as beneath:
        for name, arguments in edits_in(text):
            tools[name](beneath, **arguments)


@pytest.mark.parametrize("text", [SEARCH_REPLACE, BEGIN_PATCH, UNIFIED], ids=["search", "patch", "diff"])
def test_a_model_that_writes_its_edits_is_understood(make_world: MakeWorld, text: str) -> None:
    world = make_world([answer(text=text), finish("add adds now")])
    run = world.drive()
    assert (run.state, run.data["summary"]) == ("completed", "add adds now")
    assert world.content("calc.py") == "def add(a, b):\n    return a + b\n"
    told = world.model.requests[-1].messages[-1]["content"]
    assert told.startswith("What you wrote was carried out:\ncalc.py edited")


def test_an_edit_that_fits_nowhere_is_told_with_the_closest_lines(make_world: MakeWorld) -> None:
    world = make_world([answer(text=SEARCH_REPLACE.replace("a * b", "a / b")), answer(text=UNIFIED), finish()])
    assert world.drive().state == "completed"
    assert "old_text is not in calc.py" in str(world.model.requests[1].messages[-1])


def test_an_edit_that_was_cut_is_not_made(make_world: MakeWorld) -> None:
    world = make_world([answer(text=SEARCH_REPLACE, finish_reason="length"), answer(text=UNIFIED), finish()])
    assert world.drive().state == "completed"
    assert "was cut at its longest length" in str(world.model.requests[1].messages[-1])


def test_files_are_added_and_deleted_and_several_hunks_are_several_edits(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("x\n")
    (tmp_path / "a.py").write_text("one = 1\ntwo = 2\nthree = 3\n")
    text = """*** Begin Patch
*** Add File: sub/new.txt
+hello
+
+there
*** Delete File: old.txt
*** Update File: a.py
@@
-one = 1
+one = 11
 two = 2
@@
 two = 2
-three = 3
+three = 33
*** End of File
*** End Patch"""
    applied(tmp_path, text)
    assert (tmp_path / "sub/new.txt").read_text() == "hello\n\nthere\n"
    assert not (tmp_path / "old.txt").exists()
    assert (tmp_path / "a.py").read_text() == "one = 11\ntwo = 2\nthree = 33\n"


def test_diffs_add_and_delete_files_and_line_numbers_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("\n" * 50 + "one = 1\n\nend\n")
    (tmp_path / "gone.py").write_text("x\n")
    text = """--- /dev/null
+++ b/new.py
@@ -0,0 +1,2 @@
+a
+b
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x
--- a/a.py\t2026-01-01
+++ b/a.py\t2026-01-01
@@ -1,3 +1,3 @@
-one = 1
+one = 2

 end

That is all.
"""
    applied(tmp_path, text)
    assert (tmp_path / "new.py").read_text() == "a\nb\n"
    assert not (tmp_path / "gone.py").exists()
    assert (tmp_path / "a.py").read_text() == "\n" * 50 + "one = 2\n\nend\n"


def test_blocks_follow_each_other_in_one_file_and_an_empty_search_makes_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one = 1\ntwo = 2\n")
    text = """### `a.py`
<<<<<<< SEARCH
one = 1
=======
one = 11
>>>>>>> REPLACE
<<<<<<< SEARCH
two = 2
=======
>>>>>>> REPLACE

b.py
```
<<<<<<< SEARCH
=======
made = 1
>>>>>>> REPLACE
```
"""
    applied(tmp_path, text)
    assert (tmp_path / "a.py").read_text() == "one = 11\n"
    assert (tmp_path / "b.py").read_text() == "made = 1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n", "path on a line of its own"),
        ("f\n<<<<<<< SEARCH\na\n=======\nb\n", "no line '>>>>>>> REPLACE'"),
        ("f\n<<<<<<< SEARCH\na\n", "no line '======='"),
        ("*** Begin Patch\n*** Update File: f\n-a\n+b\n", "no line '*** End Patch'"),
        ("*** Begin Patch\n*** Update File: f\n*** Move to: g\n-a\n+b\n*** End Patch", "cannot move files"),
        ("*** Begin Patch\nhello\n*** End Patch", "every change stands under"),
        ("*** Begin Patch\n*** Update File: f\nwhat\n*** End Patch", "begins with ' ', '+' or '-'"),
        ("*** Begin Patch\n*** Update File: f\n a\n*** End Patch", "changes nothing"),
        ("*** Begin Patch\n*** Add File: f\na\n*** End Patch", "begins with '+'"),
        ("--- a/f\n+++ b/g\n@@\n-a\n+b\n", "cannot rename"),
        ("--- a/f\n+++ b/f\n@@ -1,0 +2 @@\n+b\n", "needs some lines around it"),
    ],
)
def test_half_an_edit_is_none_and_says_what_is_missing(text: str, words: str) -> None:
    with pytest.raises(Malformed) as refused:
        edits_in(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "I am done.", "a --- b", "x = '<<<<<<< SEARCH'", "--- \nno diff", "=======\n>>>>>>> REPLACE"]
)
def test_other_text_holds_no_edits(text: str) -> None:
    assert edits_in(text) == []
