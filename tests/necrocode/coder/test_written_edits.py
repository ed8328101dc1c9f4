"""Edits in the text of an answer: which are understood, which are refused, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from necrocode.coder.conversation import BRIEF, CHAT, Conversation, Use
from necrocode.coder.settings import CoderSettings
from necrocode.coder.tools import files
from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.coder.tools.offer import Malformed
from necrocode.coder.tools.written_edits import edit_in_command, edits_in
from tests.necrocode.coder.conftest import MakeWorld
from tests.necrocode.coder.world import answer, call, finish

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
        "patch_file": files.patch_file,
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


def patch(*lines: str) -> str:
    return "\n".join(("*** Begin Patch", *lines, "*** End Patch"))


TWICE = "class A:\n    def f(self):\n        return 0\n\nclass B:\n    def f(self):\n        return 0\n"


def test_lines_above_a_hunk_tell_equal_places_apart(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(TWICE)
    text = patch(
        "*** Update File: a.py", "@@ class B:", "@@     def f(self):", "-        return 0", "+        return 1"
    )
    applied(tmp_path, text)
    assert (tmp_path / "a.py").read_text() == TWICE.removesuffix("0\n") + "1\n"


def test_a_hunk_that_may_mean_several_places_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(TWICE)
    with pytest.raises(Refused, match=r"stand 2 times \(lines 3, 7\)"):
        applied(tmp_path, patch("*** Update File: a.py", "@@", "-        return 0", "+        return 1"))


def test_a_file_is_patched_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n")
    with pytest.raises(Refused, match=r"not in a\.py"):
        applied(tmp_path, patch("*** Update File: a.py", "@@", "-one", "+1", "@@", "-three", "+3"))
    assert (tmp_path / "a.py").read_text() == "one\ntwo\n"


def test_hunks_that_only_add_go_below_the_line_they_name_or_to_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n")
    (tmp_path / "empty").touch()
    applied(tmp_path, patch("*** Update File: a.py", "@@ one", "+1.5", "@@", "+three", "*** End of File"))
    applied(tmp_path, patch("*** Update File: empty", "+first"))
    assert (tmp_path / "a.py").read_text() == "one\n1.5\ntwo\nthree\n"
    assert (tmp_path / "empty").read_text() == "first\n"
    with pytest.raises(Refused, match="needs some lines around it"):
        applied(tmp_path, patch("*** Update File: a.py", "@@", "+somewhere"))


def test_the_end_of_the_file_tells_equal_places_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\nx\n")
    applied(tmp_path, patch("*** Update File: a", "@@", "-x", "+y", "*** End of File"))
    assert (tmp_path / "a").read_text() == "x\ny\n"


def test_a_file_is_moved_with_its_permissions_and_changed_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("one\n")
    (tmp_path / "a.sh").chmod(0o755)
    applied(tmp_path, patch("*** Update File: a.sh", "*** Move to: sub/b.sh", "@@", "-one", "+two"))
    assert not (tmp_path / "a.sh").exists()
    assert (tmp_path / "sub/b.sh").read_text() == "two\n"
    assert (tmp_path / "sub/b.sh").stat().st_mode & 0o777 == 0o755
    applied(tmp_path, "--- a/sub/b.sh\n+++ b/c.sh\n@@ -1 +1 @@\n-two\n+three\n")
    assert (tmp_path / "c.sh").read_text() == "three\n"
    applied(tmp_path, patch("*** Update File: c.sh", "*** Move to: d.sh"))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["d.sh"]


def test_a_move_replaces_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\n")
    (tmp_path / "b").write_text("mine\n")
    with pytest.raises(Refused, match="which exists"):
        applied(tmp_path, patch("*** Update File: a", "*** Move to: b", "@@", "-one", "+two"))
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("one\n", "mine\n")


def test_a_patch_given_to_a_command_that_is_none_here_is_carried_out(make_world: MakeWorld) -> None:
    command = f"apply_patch <<'EOF'\n{BEGIN_PATCH}\nEOF\n"
    world = make_world([answer(call("bash", command=command)), finish("add adds now")])
    run = world.drive()
    assert (run.state, world.content("calc.py")) == ("completed", "def add(a, b):\n    return a + b\n")
    asked, told = world.model.requests[-1].messages[-2:]
    assert (asked["tool_calls"][0]["function"]["name"], told["content"]) == ("bash", "calc.py edited")


@pytest.mark.parametrize("command", ["apply_patch --help", "apply_patch <<EOF\nno patch\nEOF", "cat <<EOF\nx\nEOF"])
def test_other_commands_are_commands(command: str) -> None:
    assert edit_in_command(command) is None


def test_a_command_patches_one_file() -> None:
    text = patch("*** Delete File: a", "*** Delete File: b")
    with pytest.raises(Malformed, match="a call for each"):
        edit_in_command(f"apply_patch << 'X'\n{text}\nX")


def test_a_run_that_began_before_patches_were_whole_goes_on_hunk_by_hunk() -> None:
    text = patch("*** Update File: a.py", "@@", "-one", "+1", "@@", "-two", "+2")
    brief = {"system": "s", "user": "u", "snapshot": "t", "modes": ["tools"]}
    answered = {"text": text, "tool_calls": [], "finish_reason": "stop", "tokens_in": 1, "tokens_out": 1}
    names = []
    for more in ({}, {"whole_patches": True}):
        talk = Conversation(CoderSettings("m"), base_tree="t")
        talk.take(BRIEF, {**brief, **more})
        talk.take(CHAT, answered)
        step = talk.next()
        assert isinstance(step, Use)
        names.append(step.name)
    assert names == ["edit_file", "patch_file"]


@pytest.mark.parametrize("place", ["../b", ".git/b", "/etc/b"])
def test_a_move_leads_nowhere_else(tmp_path: Path, place: str) -> None:
    (tmp_path / "a").write_text("one\n")
    with pytest.raises(Refused):
        applied(tmp_path, patch("*** Update File: a", f"*** Move to: {place}"))
    assert (tmp_path / "a").exists()


def test_a_moved_file_is_in_the_runs_snapshot(make_world: MakeWorld) -> None:
    moved = BEGIN_PATCH.replace("calc.py\n", "calc.py\n*** Move to: sums.py\n")
    world = make_world([answer(text=moved), finish("add adds now")])
    assert world.drive().state == "completed"
    assert world.content("sums.py") == "def add(a, b):\n    return a + b\n"
    told = world.model.requests[-1].messages[-1]["content"]
    assert "calc.py edited and moved to sums.py" in told


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
        ("*** Begin Patch\nhello\n*** End Patch", "every change stands under"),
        ("*** Begin Patch\n*** Update File: f\nwhat\n*** End Patch", "begins with ' ', '+' or '-'"),
        ("*** Begin Patch\n*** Update File: f\n a\n*** End Patch", "changes nothing"),
        ("*** Begin Patch\n*** Add File: f\na\n*** End Patch", "begins with '+'"),
        ("--- a/f\n+++ b/f\n@@ -1,2 +2 @@\n \n+b\n", "needs some lines around it"),
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
