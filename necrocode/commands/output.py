"""What a command's captured bytes look like to a reader: head, a line about what was left out, tail."""

from __future__ import annotations

from collections.abc import Callable


def present(head: bytes, tail: bytes, omitted_bytes: int, mask: Callable[[str], str]) -> tuple[str, int]:
    """The text of a command's output, masked, and how many bytes of it are left out.

    Undecodable bytes and NUL (which PostgreSQL refuses) become U+FFFD. Where bytes were left out, characters that the
    cut would have halved are left out whole.
    """
    if omitted_bytes == 0:
        return mask(_text(head + tail)), 0
    kept_head = _without_half_character_at_end(head)
    kept_tail = _without_half_character_at_start(tail)
    omitted_bytes += len(head) - len(kept_head) + len(tail) - len(kept_tail)
    before, after = _text(kept_head), _text(kept_tail)
    line = f"… {omitted_bytes:,} bytes left out …"
    return mask(f"{before}{_newline_after(before)}{line}\n{after}"), omitted_bytes


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace").replace("\0", "\ufffd")


def _newline_after(text: str) -> str:
    return "" if not text or text.endswith("\n") else "\n"


def _without_half_character_at_end(data: bytes) -> bytes:
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        return data[:-back] if length > back else data
    return data


def _without_half_character_at_start(data: bytes) -> bytes:
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:]
