"""Masking: finding known secrets in text and bytes, however they are escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MASK = "***"
#: Bytes. Shorter secrets would blank out ordinary text.
MIN_BYTES = 8
#: Characters. A longer secret is looked for in the usual escaped forms only, not in mixtures of them.
_MAX_FLEXIBLE = 512
_SHORT_ESCAPES = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_ESCAPES = re.compile(r"[%\\](?:(?<=%)[0-9A-Fa-f]{2}|(?<=\\)\\*(?:u[0-9A-Fa-f]{4}|(?=[\"/])))")
#: Where base64 goes on in a new line. Each begins with a literal, to which the engine skips quickly.
_LINES_GO_ON = tuple(
    re.compile(rf"{end}(?<=[A-Za-z0-9+/=]{{24}}{whole_end})[ \t]*[A-Za-z0-9+/]")
    for end, whole_end in ((r"\n", r"\n"), (r"\n", r"\r\n"), (r"\\n", r"\\n"), (r"\\n", r"\\r\\n"))
)
_BASE64_LINES = re.compile(
    r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{24,}+={0,2}(?:(?:\r?\n|\\r\\n|\\n)[ \t]*+[A-Za-z0-9+/]++={0,2})+"
)
_LINE_END = re.compile(r"\\r\\n|\\n|\s")


@dataclass(frozen=True, slots=True)
class _Secret:
    name: str
    text: str
    forms: tuple[str, ...]
    base64: tuple[str, ...]


class Masker:
    """Finds secrets of :data:`MIN_BYTES` bytes or more: verbatim, percent-encoded, JSON-escaped (in any mixture,
    character by character), and base64 in either alphabet, wherever in the encoded data they stand, wrapped or not.

    Whether a text is suspect at all is settled by plain substring searches (hundreds of megabytes a second); only then
    one compiled expression over every form runs. Safe between threads: nothing changes after construction.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        """``secrets`` are values by name; of one with several lines, each long line counts by itself too."""
        found = [
            _Secret(name, part, tuple(_forms(part)), tuple(_base64_forms(part)))
            for name, value in secrets.items()
            for part in _parts(value)
            if len(_bytes(part)) >= MIN_BYTES
        ]
        # the longest first: a secret that begins with another one must go whole
        self._secrets = tuple(sorted(found, key=lambda secret: -len(secret.text)))
        self._any = _either(
            form for secret in self._secrets for form in secret.forms + tuple(map(re.escape, secret.base64))
        )
        self._plain = [secret.text for secret in self._secrets if _is_plain(secret.text)]
        self._odd = _either(form for secret in self._secrets if not _is_plain(secret.text) for form in secret.forms)
        self._base64 = [form for secret in self._secrets for form in secret.base64]
        # only then can what stands before and after a mask make a secret together with it
        self._again = any("*" in secret.text for secret in self._secrets)

    def mask(self, text: str) -> str:
        """``text`` with every secret as ``***``."""
        if self._any is None:
            return text
        while self._suspect(text):
            masked = self._any.sub(MASK, text)
            if masked == text or not self._again:
                text = masked
                break
            text = masked
        return _BASE64_LINES.sub(self._mask_lines, text) if _is_wrapped(text) else text

    def found_in(self, content: bytes) -> str | None:
        """The name of a secret that ``content`` holds, ``None`` if it holds none. UTF-8, or UTF-16 with a mark."""
        if self._any is None:
            return None
        # surrogateescape keeps the bytes around an invalid one in their places
        text = content.decode("utf-8", "surrogateescape")
        if self._suspect(text) and self._any.search(text):
            return self._name_in(text)
        for block in _BASE64_LINES.finditer(text) if _is_wrapped(text) else ():
            joined = _LINE_END.sub("", block.group())
            for secret in self._secrets:
                if any(form in joined for form in secret.base64):
                    return secret.name
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return self.found_in(content.decode("utf-16", "replace").encode("utf-8", "replace"))
        return None

    def _suspect(self, text: str) -> bool:
        if any(secret in text for secret in self._plain) or any(form in text for form in self._base64):
            return True
        if self._plain and ("\\" in text or "%" in text):
            bare = _ESCAPES.sub(_unescaped, text)
            if any(secret in bare for secret in self._plain):
                return True
        return self._odd is not None and self._odd.search(text) is not None

    def _mask_lines(self, block: re.Match[str]) -> str:
        text = block.group()
        joined = _LINE_END.sub("", text)
        if not any(form in joined for form in self._base64):
            return text
        # where each character of the joined lines stands in the text
        ends = [(end.start(), end.end()) for end in _LINE_END.finditer(text)]
        left_out = {place for start, end in ends for place in range(start, end)}
        places = [place for place in range(len(text)) if place not in left_out]
        for form in self._base64:
            start = joined.find(form)
            while start >= 0:
                first, last = places[start], places[start + len(form) - 1]
                text = text[:first] + "\0" * (last + 1 - first) + text[last + 1 :]
                start = joined.find(form, start + 1)
        return re.sub("\0+", MASK, text)

    def _name_in(self, text: str) -> str:
        for secret in self._secrets:
            pattern = _either((*secret.forms, *map(re.escape, secret.base64)))
            if pattern is not None and pattern.search(text):
                return secret.name
        raise AssertionError("found by the expression of all secrets, and by none of one")


def _is_wrapped(text: str) -> bool:
    return any(seam.search(text) for seam in _LINES_GO_ON)


def _either(forms: Iterable[str]) -> re.Pattern[str] | None:
    every = list(dict.fromkeys(forms))
    return re.compile("|".join(every)) if every else None


def _is_plain(text: str) -> bool:
    """Whether undoing the escapes around it leaves ``text`` as it is, so that a search after that finds every form."""
    return text.isascii() and text.isprintable() and not set(text) & set("%\\ ") and len(text) <= _MAX_FLEXIBLE


def _unescaped(found: re.Match[str]) -> str:
    escape = found.group()
    if escape[0] == "%":
        return bytes.fromhex(escape.replace("%", "")).decode("latin-1")
    return chr(int(escape[-4:], 16)) if escape[-1] != "\\" else ""


def _parts(value: str) -> list[str]:
    """The secret, and each of its lines that says nothing by itself elsewhere (a key's armour lines do)."""
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) < 2:
        return [value]
    return [value, *(line for line in lines if len(line) >= 16 and not line.startswith("-----"))]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape" if _escaped_bytes(text) else "surrogatepass")


def _escaped_bytes(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def _forms(text: str) -> list[str]:
    """Expressions for ``text``, each beginning with a literal, which lets the engine skip to where one may begin."""
    if len(text) > _MAX_FLEXIBLE:
        return _whole_forms(text)
    rest = "".join(f"(?:{'|'.join(_spellings(character))})" for character in text[1:])
    return [first + rest for first in _spellings(text[0])]


def _spellings(character: str) -> list[str]:
    """How one character may stand in text: itself, percent-encoded, JSON-escaped (also JSON inside JSON)."""
    spellings = [re.escape(character)]
    encoded = _bytes(character)
    spellings.append("".join(f"%{_any_case(f'{byte:02x}')}" for byte in encoded))
    utf16 = character.encode("utf-16-be", "surrogatepass").hex()
    spellings.append("".join(rf"\\+u{_any_case(utf16[i : i + 4])}" for i in range(0, len(utf16), 4)))
    if character in '"\\/':
        spellings.append(rf"\\+{re.escape(character)}")
    if character in _SHORT_ESCAPES:
        spellings.append(rf"\\+{_SHORT_ESCAPES[character]}")
    if character == " ":
        spellings.append(r"\+")
    return spellings


def _any_case(digits: str) -> str:
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)


def _whole_forms(text: str) -> list[str]:
    import json
    from urllib.parse import quote, quote_plus

    raw = _bytes(text)
    plain, ascii_only = json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1]
    forms = {text, plain, ascii_only, plain.replace("/", "\\/"), ascii_only.replace("/", "\\/")}
    forms |= {json.dumps(plain, ensure_ascii=False)[1:-1], json.dumps(ascii_only)[1:-1]}
    forms |= {quote(raw), quote(raw, safe=""), quote_plus(raw)}
    utf16 = text.encode("utf-16-be", "surrogatepass")
    forms |= {
        "".join(f"%{byte:02X}" for byte in raw),
        "".join(f"\\u{high:02X}{low:02X}" for high, low in _pairs(utf16)),
    }
    forms |= {re.sub(r"(?:%|\\u)[0-9A-Fa-f]+", lambda found: found.group().lower(), form) for form in forms}
    return [re.escape(form) for form in forms]


def _pairs(content: bytes) -> list[tuple[int, int]]:
    return list(zip(content[::2], content[1::2], strict=True))


def _base64_forms(text: str) -> list[str]:
    """The characters of base64 that depend on the secret alone, for each place in a group it may begin."""
    forms = set()
    raw = _bytes(text)
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        # six bits a character: the first and last ones that hold a neighbour's bits are left out
        core = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        forms |= {core, core.replace("+", "-").replace("/", "_")}
    # URL- and JSON-escaping of the alphabet's own '+', '/' and '='
    forms |= {form.replace("+", "%2B").replace("/", "%2F") for form in forms}
    forms |= {form.replace("/", "\\/") for form in forms}
    return sorted(forms)
