"""The file tools: what the model sees, and edits that leave every other byte as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from necrocode.coder.tools.beneath import Beneath, Refused
from necrocode.coder.tools.files import edit_file, read_file, write_file
from necrocode.coder.tools.text import Text
from necrocode.coder.tools.tolerant import places


def edited(slot: Path, content: bytes, old: str, new: str, *, replace_all: bool = False) -> bytes:
    (slot / "f").write_bytes(content)
    with Beneath(slot) as folder:
        edit_file(folder, "f", old, new, replace_all=replace_all)
    return (slot / "f").read_bytes()


def refusal(slot: Path, content: bytes, old: str, new: str) -> str:
    with pytest.raises(Refused) as refused:
        edited(slot, content, old, new)
    assert (slot / "f").read_bytes() == content, "a refused edit changes nothing"
    return str(refused.value)


@pytest.mark.parametrize(
    ("content", "old", "new", "result"),
    [
        (b"a\nb\nc\n", "b", "x\ny", b"a\nx\ny\nc\n"),
        (b"a\r\nb\r\nc\r\n", "a\nb", "a\nx\ny", b"a\r\nx\r\ny\r\nc\r\n"),
        (b"a\r\nb\r\n", "b", "x\ny", b"a\r\nx\r\ny\r\n"),
        (b"a\r\nb\nc\r\nd\n", "b\nc", "b\nx\nc", b"a\r\nb\nx\nc\r\nd\n"),
        (b"\xef\xbb\xbfa\nb\n", "a", "x", b"\xef\xbb\xbfx\nb\n"),
        (b"a\nb", "b", "c", b"a\nc"),
        (b"a\nb\n", "b\n", "c", b"a\nc\n"),
        (b"a\nb\n", "b\n", "", b"a\n"),
        (b"caf\xe9 a\n", "a\n", "b\n", b"caf\xe9 b\n"),
        (b"a\rb\n", "b", "c", b"a\rc\n"),
        (b"a\nb\n", "a\r\nb", "c", b"c\n"),
    ],
)
def test_an_edit_keeps_line_ends_marks_and_what_it_does_not_touch(
    tmp_path: Path, content: bytes, old: str, new: str, result: bytes
) -> None:
    assert edited(tmp_path, content, old, new) == result


def test_an_edit_keeps_the_mode(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\n")
    (tmp_path / "f").chmod(0o755)
    assert edited(tmp_path, b"a\n", "a", "b") == b"b\n"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o755


def test_every_occurrence_is_replaced_on_request(tmp_path: Path) -> None:
    assert edited(tmp_path, b"a a\na\n", "a", "bb", replace_all=True) == b"bb bb\nbb\n"


def test_text_that_stands_more_than_once_is_refused_with_its_places(tmp_path: Path) -> None:
    assert "3 times in f (lines 1, 1, 2)" in refusal(tmp_path, b"a a\na\n", "a", "b")


def test_text_that_is_not_there_is_refused_with_the_closest_lines(tmp_path: Path) -> None:
    told = refusal(tmp_path, b"def add(a, b):\n    return a + b\n\nx = 1\n", "def add(a, c):\n    return a + c", "x")
    assert "closest lines are:\n1\tdef add(a, b):\n2\t    return a + b" in told


@pytest.mark.parametrize(
    ("content", "old", "new", "result", "told"),
    [
        # deeper, and one line more
        (b"class A:\n    def f(self):\n        return 1\n",
         "def f(self):\n    return 1", "def f(self):\n    x = 2\n    return x",
         b"class A:\n    def f(self):\n        x = 2\n        return x\n", "indentation"),
        # less deep, and a line above it
        (b"if x:\n    a()\nb()\n", "        a()", "        c()\n        a()",
         b"if x:\n    c()\n    a()\nb()\n", "indentation"),
        # tabs
        (b"if x:\n\treturn 1\n", "if x:\n    return 1\n", "if x:\n    if y:\n        return 2\n    return 1\n",
         b"if x:\n\tif y:\n\t\treturn 2\n\treturn 1\n", "indentation"),
        (b"if x:\n  y()\n", "if x:\n\ty()", "if x:\n\tz(\n\t\t1)", b"if x:\n  z(\n    1)\n", "indentation"),
        # spaces at line ends, which stay where nothing changes
        (b"a = 1  \nb = 2\t\nc = 3\n", "a = 1\nb = 2\nc = 3", "a = 1\nb = 5\nc = 3",
         b"a = 1  \nb = 5\nc = 3\n", "spaces at line ends"),
        # quotes and dashes
        ("say(\u201chi\u201d)  \u2013 x\nend\n".encode(), 'say("hi")  - x\nend', 'say("hi")  - x\nmore\nend',
         "say(\u201chi\u201d)  \u2013 x\nmore\nend\n".encode(), "quotes, dashes or spaces"),
        # a block goes, line ends and all
        (b"a\r\n  b()\r\n  c()\r\nd\r\n", "b()\nc()\n", "", b"a\r\nd\r\n", "indentation"),
        # at the end of a file without a final line end
        (b"a()\n    b()", "b()", "b()\nc()", b"a()\n    b()\nc()", ""),
        (b"x\n    b()\n    d()", "b()\nd()", "b()\nd()\ne()", b"x\n    b()\n    d()\n    e()", "indentation"),
    ],
)  # fmt: skip
def test_what_is_almost_there_and_only_once_is_edited_as_the_file_has_it(
    tmp_path: Path, content: bytes, old: str, new: str, result: bytes, told: str
) -> None:
    (tmp_path / "f").write_bytes(content)
    with Beneath(tmp_path) as folder:
        changed = edit_file(folder, "f", old, new)
    assert (tmp_path / "f").read_bytes() == result
    assert f"although {told} differed" in changed.content if told else "although" not in changed.content


def test_what_is_almost_there_more_than_once_is_refused_with_its_places(tmp_path: Path) -> None:
    told = refusal(tmp_path, b"if a:\n  x()\n  y()\nif b:\n    x()\n    y()\n", "x()\ny()", "z()")
    assert "2 places differ from it only in indentation (lines 2, 5)" in told


@pytest.mark.parametrize(
    ("content", "old"),
    [(b"a = f(1, 2)\n", "a = f(1,2)"), (b"  a()\n b()\n", "a()\nb()"), (b"\n\n", "   \n  "), (b"a\nb\n", "a\n\nb")],
)
def test_what_differs_in_more_is_refused(tmp_path: Path, content: bytes, old: str) -> None:
    assert "old_text is not in f" in refusal(tmp_path, content, old, "new")


@given(
    lines=st.lists(st.text("ab{}", min_size=1, max_size=4), min_size=1, max_size=6, unique=True),
    by=st.sampled_from([" ", "    ", "\t"]),
    data=st.data(),
)
def test_a_block_that_stands_deeper_is_edited_as_if_it_stood_at_the_margin(
    lines: list[str], by: str, data: st.DataObject
) -> None:
    new = data.draw(st.lists(st.text("abxy{}", min_size=1, max_size=4), max_size=6))
    assume(new != lines)
    shown = "first\n" + "".join(f"{by}{line}\n" for line in lines) + "last\n"
    found = places(shown.split("\n")[:-1], "\n".join(lines), "\n".join(new))
    (place,) = [each for each in found if each.line == 1]
    made = shown.split("\n")[:-1]
    for change in reversed(place.changes):
        made[change.first : change.first + change.count] = change.lines
    assert made == ["first", *(by + line for line in new), "last"]


def test_copied_line_numbers_are_recognised(tmp_path: Path) -> None:
    assert "line numbers" in refusal(tmp_path, b"alpha\nbeta\n", "1\talpha\n2\tbeta", "y")


@pytest.mark.parametrize(("old", "new"), [("", "x"), ("a", "a"), ("\ud800", "x"), ("a", "\udcff"), ("zzzz", "y")])
def test_an_edit_that_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str) -> None:
    assert refusal(tmp_path, b"a\n", old, new)


def test_binary_files_are_refused(tmp_path: Path) -> None:
    assert "binary" in refusal(tmp_path, b"a\0b", "a", "b")
    with Beneath(tmp_path) as folder, pytest.raises(Refused, match="binary"):
        read_file(folder, "f")


LINES = st.lists(st.tuples(st.text("abc é😀\t", max_size=6), st.sampled_from(["\n", "\r\n"])), min_size=1, max_size=12)


@given(lines=LINES, bom=st.booleans(), final=st.booleans(), data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_edit_changes_the_lines_it_names_and_no_byte_besides(
    tmp_path: Path, lines: list[tuple[str, str]], bom: bool, final: bool, data: st.DataObject
) -> None:
    numbered = [(f"{number}:{text}", end) for number, (text, end) in enumerate(lines)]
    if not final:
        numbered[-1] = (numbered[-1][0], "")
    start = data.draw(st.integers(0, len(numbered) - 1))
    stop = data.draw(st.integers(start + 1, len(numbered)))
    new = data.draw(st.lists(st.text("xyz", max_size=4), min_size=1, max_size=4))
    mark = b"\xef\xbb\xbf" if bom else b""
    old = "\n".join(text for text, _ in numbered[start:stop])
    assume(old != "\n".join(new))
    content = mark + "".join(text + end for text, end in numbered).encode()
    # a number and a colon may also end a longer number's line
    assume(Text.decode(content, "f").shown.count(old) == 1)
    result = edited(tmp_path, content, old, "\n".join(new))
    before = mark + "".join(text + end for text, end in numbered[:start]).encode()
    after = (numbered[stop - 1][1] + "".join(text + end for text, end in numbered[stop:])).encode()
    assert result.startswith(before)
    assert result.endswith(after)
    middle = result[len(before) : len(result) - len(after)]
    assert middle.replace(b"\r\n", b"\n") == "\n".join(new).encode()
    ends = {end for _, end in numbered if end}
    if ends == {"\n"}:
        assert b"\r" not in result
    if ends == {"\r\n"}:
        assert result.count(b"\n") == result.count(b"\r\n")


@given(content=st.binary(max_size=60).filter(lambda content: b"\0" not in content))
def test_decoding_and_encoding_is_lossless(content: bytes) -> None:
    assert Text.decode(content, "f").encode() == content


def test_a_file_is_shown_with_line_numbers_a_page_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("".join(f"line {number}\n" for number in range(1, 1001)))
    with Beneath(tmp_path) as folder:
        page = read_file(folder, "f")
        assert page.startswith("f, lines 1-400 of 1000 (go on with start_line 401)\n1\tline 1\n")
        assert read_file(folder, "f", 999, 5000) == "f, lines 999-1000 of 1000\n999\tline 999\n1000\tline 1000"
        with pytest.raises(Refused, match="only 1000 lines"):
            read_file(folder, "f", 1001)
        with pytest.raises(Refused, match="before start_line"):
            read_file(folder, "f", 5, 4)


def test_what_is_shown_is_bounded_even_for_endless_lines(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(("x" * 100_000 + "\n") * 9)
    with Beneath(tmp_path) as folder:
        assert len(read_file(folder, "f")) < 20_000


def test_a_directory_is_listed(tmp_path: Path) -> None:
    (tmp_path / "sub" / "below").mkdir(parents=True)
    (tmp_path / "sub" / "a.py").touch()
    with Beneath(tmp_path) as folder:
        assert read_file(folder, "sub") == "sub is a directory with:\na.py\nbelow/"


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with Beneath(tmp_path) as folder:
        assert read_file(folder, "f") == "f is empty"


def test_writing_keeps_what_a_file_had_of_line_ends_and_marks(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    with Beneath(tmp_path) as folder:
        assert write_file(folder, "f", "x\ny\n").paths == ("f",)
        assert (tmp_path / "f").read_bytes() == b"\xef\xbb\xbfx\r\ny\r\n"
        assert write_file(folder, "f", "x\ny\n").paths == (), "nothing changed, and it says so"
        assert write_file(folder, "a/b/new", "x\ny\n").content == "a/b/new created (2 lines)"
    assert (tmp_path / "a/b/new").read_bytes() == b"x\ny\n"
