"""The list of hosts that commands may reach: how it is written, and what it lets through."""

from __future__ import annotations

import pytest

from necrocode.commands.hosts import Hosts, checked


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ("index.example", "index.example"),
        (" Index.Example ", "index.example"),
        ("*.files.example", "*.files.example"),
        ("registry.example:5000", "registry.example:5000"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("10.1.2.3", "10.1.2.3"),
        ("[::1]:8080", "[::1]:8080"),
        ("build-cache", "build-cache"),
    ],
)
def test_a_host_a_domain_or_an_address_perhaps_with_a_port(entry: str, kept: str) -> None:
    assert checked(entry) == kept


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("https://index.example/simple", "not a URL"),
        ("index.example/simple", "not a URL"),
        ("user@index.example", "not a URL"),
        ("index.example:0", "not between 1 and 65535"),
        ("index.example:65536", "not between 1 and 65535"),
        ("index.example:https", "no number"),
        ("::1", "no number"),
        ("index.example:", "must be a host"),
        ("", "must be a host"),
        ("*", "must be a host"),
        ("*.", "must be a host"),
        ("pypi.*", "must be a host"),
        ("pypi..org", "must be a host"),
        ("-index.example", "must be a host"),
        ("pypi org", "must be a host"),
        ("index.example\0", "must be a host"),
        ("10.0.0.0.1", "must be a host"),
        ("127.1", "must be a host"),
        ("[index.example]", "must be a host"),
        ("a" * 64 + ".org", "must be a host"),
        ("localhost:8080", "127.0.0.1:PORT"),
    ],
)
def test_what_is_none_of_these_is_refused_and_says_why(entry: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        checked(entry)


@pytest.mark.parametrize(
    ("host", "port", "let"),
    [
        ("index.example", 443, True),
        ("Index.Example.", 80, True),
        ("index.example", 8080, False),
        ("www.index.example", 443, False),
        ("files.files.example", 443, True),
        ("a.b.files.example", 443, True),
        ("files.example", 443, False),
        ("evilfiles.example", 443, False),
        ("*.files.example", 443, False),
        ("a\0.files.example", 443, False),
        ("files.files.example.evil.org", 443, False),
        ("127.0.0.1", 8080, True),
        ("127.0.0.1", 80, False),
        ("127.1", 8080, False),
        ("2130706433", 8080, False),
        ("::1", 9000, True),
        ("0:0::1", 9000, True),
        ("::ffff:127.0.0.1", 8080, False),
        ("", 443, False),
    ],
)
def test_only_what_is_listed_is_let_through(host: str, port: int, let: bool) -> None:
    hosts = Hosts(["index.example", "*.files.example", "127.0.0.1:8080", "[::1]:9000"])
    assert hosts.lets(host, port) is let


@pytest.mark.parametrize(
    ("found", "let"),
    [
        ("151.101.0.223", True),
        ("2a04:4e42::223", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("172.16.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::9765:df", True),
        ("10.7.7.7", True),
    ],
)
def test_a_listed_name_leads_into_the_open_or_to_a_listed_address(found: str, let: bool) -> None:
    assert Hosts(["index.example", "10.7.7.7"]).lets_lead(found, 443) is let


def test_a_listed_address_is_let_through_at_its_port_only() -> None:
    assert not Hosts(["index.example", "10.7.7.7"]).lets_lead("10.7.7.7", 8080)
