"""Masking: no form of a secret gets through, and ordinary text is left alone."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from necrocode.masking import MASK, Masker

TOKEN = "ghp_x7Q2/vLm+90aZ=~s.K3"
ODD = 'p%41ß w"ö\\rd/\n2😀'

secrets = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=30),
).filter(lambda text: len(text.splitlines()) == 1)
surroundings = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*%\\"), max_size=20)

ENCODERS: dict[str, Callable[[str], str]] = {
    "verbatim": lambda text: text,
    "json": lambda text: json.dumps(text)[1:-1],
    "json, not ascii": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json in json": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "json with \\/": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "every character \\u": lambda text: "".join(
        f"\\u{unit:04X}" for unit in memoryview(text.encode("utf-16-le")).cast("H").tolist()
    ),
    "json for html": lambda text: (
        json.dumps(text)[1:-1].replace("<", "\\u003c").replace(">", "\\u003E").replace("&", "\\u0026")
    ),
    "url": lambda text: quote(text),
    "url, no safe characters": lambda text: quote(text, safe=""),
    "url, form": quote_plus,
    "url, small letters": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
}


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("secret", [TOKEN, ODD, "k" * 700 + "/é"], ids=["token", "odd", "long"])
def test_every_escaped_form_is_masked_and_found(secret: str, encode: Callable[[str], str]) -> None:
    masker = Masker({"GIT_TOKEN": secret})
    form = encode(secret)
    assert masker.mask(f"a {form} z")[:3] == "a *"
    assert form not in masker.mask(f"a {form} z")
    assert masker.found_in(f"a {form} z".encode()) == "GIT_TOKEN"


@given(secret=secrets, before=surroundings, after=surroundings, encoder=st.sampled_from(sorted(ENCODERS)))
def test_no_escaped_form_of_any_secret_gets_through(secret: str, before: str, after: str, encoder: str) -> None:
    masker = Masker({"it": secret})
    text = before + ENCODERS[encoder](secret) + after
    masked = masker.mask(text)
    assert secret not in masked
    assert ENCODERS[encoder](secret) not in masked
    assert MASK in masked
    assert masker.found_in(text.encode()) == "it"
    assert masker.mask(masked) == masked


@given(secret=secrets, data=st.data())
def test_characters_escaped_each_in_its_own_way_do_not_get_through(secret: str, data: st.DataObject) -> None:
    ways = (ENCODERS["verbatim"], ENCODERS["every character \\u"], ENCODERS["url, small letters"], ENCODERS["json"])
    form = "".join(data.draw(st.sampled_from(ways))(character) for character in secret)
    assert Masker({"it": secret}).mask(f"<{form}>") == "<***>"


@given(secret=secrets, before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_base64_is_found_wherever_the_secret_begins_in_it(secret: str, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + secret.encode() + after)
        assert Masker({"it": secret}).found_in(b"x: " + encoded) == "it"
        assert MASK in Masker({"it": secret}).mask(encoded.decode())


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\\n", "\n  "])
def test_base64_wrapped_over_lines_is_masked(newline: str) -> None:
    encoded = base64.b64encode(b"x" * 50 + TOKEN.encode() + b"y" * 80).decode()
    wrapped = newline.join(encoded[i : i + 76] for i in range(0, len(encoded), 76))
    masker = Masker({"it": TOKEN})
    before, after = masker.mask(f"out:\n{wrapped}\nend").split(MASK)
    assert before.startswith("out:\neHh4") and set(before[5:]) <= set("eHh4" + newline)
    # the 3 holds two bits of the secret and four of what follows
    assert after.endswith("\nend") and set(after[:-4]) <= set("3eXl5=" + newline)
    assert masker.found_in(wrapped.encode()) == "it"


def test_base64_wrapped_over_lines_without_a_secret_stays() -> None:
    wrapped = base64.encodebytes(bytes(range(200))).decode()
    assert Masker({"it": TOKEN}).mask(wrapped) == wrapped


@given(text=st.text(max_size=200))
def test_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert Masker({"a": TOKEN, "b": ODD}).mask(text) == text
    assert Masker({"a": TOKEN, "b": ODD}).found_in(text.encode("utf-8", "surrogatepass")) is None


@given(content=st.binary(max_size=200), after=st.binary(max_size=20))
def test_bytes_that_are_no_text_hide_nothing(content: bytes, after: bytes) -> None:
    assert Masker({"it": TOKEN}).found_in(content + TOKEN.encode() + after) == "it"


def test_utf_16_with_a_mark_hides_nothing() -> None:
    assert Masker({"it": TOKEN}).found_in(f"key = {TOKEN}".encode("utf-16")) == "it"


def test_a_secret_that_begins_with_another_is_masked_whole() -> None:
    masker = Masker({"short": "abcdefgh", "long": "abcdefghijkl"})
    assert masker.mask("abcdefghijkl abcdefgh") == "*** ***"
    assert masker.found_in(b"..abcdefghijkl") == "long"


def test_a_mask_makes_no_secret_with_what_stands_around_it() -> None:
    masker = Masker({"a": "ab***cdef", "b": "01234567"})
    assert "ab***cdef" not in masker.mask("ab01234567cdef")


def test_each_line_of_a_key_is_masked_by_itself() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----\n"
    masker = Masker({"key": key})
    assert masker.mask("  MIIEvQIBADANBgkqhkiG9w0B") == "  ***"
    assert masker.mask("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"
    assert masker.mask(f"<{key}>") == "<***>"


def test_secrets_under_eight_bytes_are_left_alone() -> None:
    assert Masker({"pin": "1234567"}).mask("1234567") == "1234567"
    assert Masker({"four letters, eight bytes": "öäüß"}).mask("öäüß") == MASK
    assert Masker({}).found_in(b"anything") is None


def test_big_inputs_are_quick() -> None:
    masker = Masker({f"secret {n}": f"{TOKEN}{n}" for n in range(5)})
    text = 'def f(path="C:\\\\x%20y"):\n    return "a quite ordinary line of source code"\n' * 60_000
    began = time.process_time()
    assert masker.mask(text) == text
    assert masker.found_in(text.encode()) is None
    # 4.6 MB twice: about 0.1 s; a search of every form at every place takes seconds
    assert time.process_time() - began < 1.5
