"""How captured bytes are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from necrocode.commands.files import Capture, Reserved
from necrocode.commands.output import present
from necrocode.commands.whole import WholeOutputs


def same(text: str) -> str:
    return text


@pytest.mark.parametrize("limit", [0, 1, 2, 7, 10, 11, 64])
@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("whole_limit", [0, 30, 1000])
def test_the_first_and_the_last_half_are_kept_however_the_bytes_come_and_all_of_them_beside(
    tmp_path: Path, limit: int, step: int, whole_limit: int
) -> None:
    data = bytes(range(32, 96))
    path = tmp_path / "output"
    with Reserved(str(path), limit) as file:
        file.place()
        capture = Capture(file.descriptor, limit, str(tmp_path / "whole"), whole_limit)
        for start in range(0, len(data), step):
            capture.feed(data[start : start + step])
        tail_bytes = capture.finish()
    kept = path.read_bytes()
    assert len(kept) == capture.head_bytes + tail_bytes == min(limit, len(data))
    assert capture.omitted == len(data) - len(kept)
    assert kept[: capture.head_bytes] == data[: limit // 2]
    assert data.endswith(kept[capture.head_bytes :])
    whole = tmp_path / "whole"
    assert whole.exists() == (capture.omitted > 0 and whole_limit > 0)
    assert not whole.exists() or whole.read_bytes() == data[:whole_limit]


def test_whole_outputs_are_masked_bounded_for_each_run_and_forgotten_with_it(tmp_path: Path) -> None:
    outputs = WholeOutputs(tmp_path / "outputs", lambda text: text.replace("hunter22", "***"), 1000)
    source = tmp_path / "whole"
    source.write_bytes(b"a hunter22 \xff")
    name = outputs.keep("run", "command", source)
    assert outputs.read("run", name) == b"a *** \xff"
    source.unlink()
    assert outputs.keep("run", "command", source) == name, "it was kept before the folder went"
    assert outputs.keep("run", "another", source) == ""
    source.write_bytes(b"x" * 500)
    kept = [outputs.keep("run", str(n), source) for n in range(3)]
    assert [bool(each) for each in kept] == [True, False, False]
    outputs.forget("run")
    assert outputs.read("run", name) is None


def test_a_file_that_was_never_put_in_its_place_is_gone(tmp_path: Path) -> None:
    with Reserved(str(tmp_path / "result"), 4096):
        assert [path.stat().st_blocks * 512 for path in tmp_path.iterdir()] == [4096]
    assert list(tmp_path.iterdir()) == []


def test_output_that_fits_is_whole() -> None:
    assert present(b"a\xc3", b"\xa4b", 0, same) == ("aäb", 0)


def test_left_out_bytes_are_said_on_a_line_of_their_own() -> None:
    assert present(b"head", b"tail", 1234567, same) == ("head\n… 1,234,567 bytes left out …\ntail", 1234567)
    assert present(b"head\n", b"", 3, same) == ("head\n… 3 bytes left out …\n", 3)
    assert present(b"", b"tail", 3, same) == ("… 3 bytes left out …\ntail", 3)


@pytest.mark.parametrize("character", ["ä", "€", "😀"])
def test_no_character_is_halved(character: str) -> None:
    raw = character.encode()
    for cut in range(1, len(raw)):
        head, tail = b"ok" + raw[:cut], raw[cut:] + b"ok"
        assert present(head, tail, 10, same) == (f"ok\n… {10 + len(raw)} bytes left out …\nok", 10 + len(raw))
    assert present(b"ok" + raw, raw + b"ok", 10, same)[0] == f"ok{character}\n… 10 bytes left out …\n{character}ok"


def test_what_is_no_text_is_replaced() -> None:
    assert present(b"a\x00b\xff\xfec", b"", 0, same)[0] == "a\ufffdb\ufffd\ufffdc"
    assert present(b"\x80" * 8, b"\x80" * 8, 5, same)[1] == 5 + 3


def test_the_whole_text_is_masked() -> None:
    assert present(b"key=sec", b"ret!", 0, lambda text: text.replace("secret", "***"))[0] == "key=***!"
