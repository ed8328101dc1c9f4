"""Commands that may reach listed hosts: they do, by ordinary tools; and the proxy lives and dies with its command."""

from __future__ import annotations

import http.server
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from necrocode.commands import SupervisedCommands
from necrocode.commands.hosts import Hosts
from necrocode.commands.proxy import serve
from necrocode.commands.sandbox import SandboxMode, SandboxReport, unenforced
from necrocode.engine.stop import StopToken
from necrocode.states.ports import CommandResult
from tests.necrocode.commands.conftest import Mode, Sandbox, working
from tests.necrocode.commands.driving import (
    UNTIL_TOLD,
    keeper_pid,
    processes_of,
    runner_process,
    spec,
    tell,
    wait_until,
)
from tests.necrocode.commands.scene import Scene


class Site(http.server.BaseHTTPRequestHandler):
    """Says what it was asked, and by which name."""

    def do_GET(self) -> None:
        self._say(f"{self.path} of {self.headers['Host']}\n".encode())

    def do_POST(self) -> None:
        self._say(self.rfile.read(int(self.headers["Content-Length"])))

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """``127.0.0.1:PORT`` of a server of this machine's."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some commands here are written in Python."""
    monkeypatch.setenv("PATH", f"{sys.base_prefix}/bin:{os.environ['PATH']}")


def run(runner: SupervisedCommands, slot: Path, command: str, *hosts: str) -> CommandResult:
    return runner.run(spec(slot, command, network=hosts), StopToken())


def fetch(url: str, *, data: str = "None") -> str:
    """A command that prints what is there, or the error; ``data`` is an expression for what is posted."""
    code = f"import urllib.request as r\ntry: print(r.urlopen('{url}', {data}).read().decode())\n"
    return f'python3 -ISc "{code}except Exception as error: print(error)"'


def test_a_listed_host_is_reached_by_what_knows_of_proxies(runner: SupervisedCommands, slot: Path, site: str) -> None:
    assert run(runner, slot, fetch(f"http://{site}/a?b"), site).output.strip() == f"/a?b of {site}"
    assert run(runner, slot, fetch(f"http://{site}/", data="b'x' * 9_000_000"), site).omitted_bytes > 8_000_000


def test_another_is_refused_in_one_clear_line(runner: SupervisedCommands, slot: Path, site: str) -> None:
    words = "is not on the list of hosts that commands may reach (network)"
    assert words in run(runner, slot, fetch("http://other.invalid/", data="b'x' * 300_000"), site).output
    assert words in run(runner, slot, fetch("http://listed.invalid:81/"), "listed.invalid").output
    assert words in run(runner, slot, fetch("https://other.invalid/"), "listed.invalid").output


def test_a_name_that_leads_inside_needs_its_address_listed(runner: SupervisedCommands, slot: Path, site: str) -> None:
    name = site.replace("127.0.0.1", "localhost")
    refused = run(runner, slot, fetch(f"http://{name}/"), name).output
    assert f"localhost leads to {site}, which is inside and not listed itself" in refused
    assert run(runner, slot, fetch(f"http://{name}/"), name, site).output.strip() == f"/ of {name}"


def test_the_variables_are_known_by_both_spellings_and_spare_the_loopback(
    runner: SupervisedCommands, slot: Path
) -> None:
    one = spec(slot, "env", network=("127.0.0.1:1", "index.example"), env={"https_proxy": "http://elsewhere.invalid"})
    found = dict(line.split("=", 1) for line in runner.run(one, StopToken()).output.splitlines())
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    (proxy,) = {found[name] for name in names}
    assert proxy.startswith("http://127.0.0.1:")
    assert found["NO_PROXY"] == found["no_proxy"] == "localhost,::1", "127.0.0.1 is listed: that is for the proxy"


def test_without_a_list_there_is_no_proxy(runner: SupervisedCommands, slot: Path) -> None:
    for network in (True, False, ()):
        assert "PROXY" not in runner.run(spec(slot, "env", network=network), StopToken()).output.upper()


def test_an_empty_list_is_no_network(commands_dir: Path, sandbox: Sandbox, slot: Path, site: str) -> None:
    with SupervisedCommands(commands_dir, sandbox=sandbox) as commands:
        assert "/ of" not in run(commands, slot, fetch(f"http://{site}/")).output


def test_a_server_of_the_commands_own_is_its_own(commands_dir: Path, slot: Path) -> None:
    with SupervisedCommands(commands_dir, sandbox="bubblewrap") as commands:
        if commands.sandbox_report().kind == "none":
            pytest.skip(commands.sandbox_report().why)
        serving = "(python3 -m http.server -d /etc 8099 >/dev/null 2>&1 &); sleep 0.4"
        output = run(commands, slot, f"{serving}; {fetch('http://localhost:8099/hosts')}", "index.example").output
    assert "127.0.0.1 localhost" in output


def test_it_outlives_the_runner_as_its_command_does(
    runner: SupervisedCommands, slot: Path, commands_dir: Path, mode: Mode, site: str
) -> None:
    one = spec(slot, f"touch f; {UNTIL_TOLD}; {fetch(f'http://{site}/late')}", network=(site,))
    process = runner_process(commands_dir, mode, one)
    wait_until((slot / "f").exists)
    process.kill()
    process.communicate()
    tell(slot)
    assert runner.attach(one, StopToken()).output.strip() == f"/late of {site}"


def test_it_ends_with_its_command_and_with_its_keeper(
    plain: SupervisedCommands, slot: Path, commands_dir: Path
) -> None:
    at = slot / "at"
    run(plain, slot, "echo $HTTP_PROXY > at", "index.example")
    assert not _answers(at)
    one = spec(slot, "echo $HTTP_PROXY > draft; mv draft at; touch ready; sleep 300", network=("index.example",))
    running = threading.Thread(target=plain.run, args=(one, StopToken()))
    running.start()
    wait_until((slot / "ready").exists)
    assert _answers(at)
    os.kill(keeper_pid(commands_dir, one.command_id), 9)
    running.join()
    wait_until(lambda: not _answers(at), seconds=5)
    assert processes_of(one.command_id) == []


def _answers(at: Path) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", int(at.read_text().strip().rpartition(":")[2]))) == 0


def test_where_the_loopback_is_shared_no_connection_is_led_another_way(
    tmp_path: Path, commands_dir: Path, site: str
) -> None:
    modes: dict[SandboxMode, bool] = {working("landlock"): False, "off": True}
    for sandbox, led in modes.items():
        with SupervisedCommands(commands_dir, sandbox=sandbox) as commands:
            assert Scene(tmp_path, commands_dir, commands, network=(site,)).hostile("routed") is led, sandbox


def test_it_says_where_a_list_holds_nobody() -> None:
    assert unenforced(SandboxReport("bubblewrap", "")) == ""
    assert unenforced(SandboxReport("landlock", ""), 4) == ""
    assert "too old (Linux 6.7 has 4)" in unenforced(SandboxReport("landlock", ""), 3)
    assert "without a sandbox" in unenforced(SandboxReport("none", ""))


# -- what it says to whom --


@pytest.fixture
def proxy(site: str) -> Iterator[tuple[str, int]]:
    """A proxy to the site, and to a port at which nobody is."""
    with proxying(site, "127.0.0.1:1") as where:
        yield where


@contextmanager
def proxying(*hosts: str) -> Iterator[tuple[str, int]]:
    """A proxy to ``hosts``."""
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=(listening, Hosts(hosts)))
    thread.start()
    yield listening.getsockname()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def say(proxy: tuple[str, int], words: str) -> str:
    """All of the answer."""
    with socket.create_connection(proxy, timeout=10) as client:
        client.sendall(words.encode())
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while more := client.recv(65536):
            answer += more
    return answer.decode()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("", 400),
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: index.example\r\n\r\n", 400),
        ("GET ftp://index.example/ HTTP/1.1\r\n\r\n", 400),
        ("CONNECT index.example:x HTTP/1.1\r\n\r\n", 400),
        ("CONNECT index.example HTTP/1.1\r\n\r\n", 403),
        ("CONNECT user@127.0.0.1:1 HTTP/1.1\r\n\r\n", 403),
        ("GET http://index.example HTTP/1.0\r\n\r\n", 403),
        ("CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", 502),
        ("GET / HTTP/1.1\r\nX: " + "x" * 200_000, 400),
    ],
)
def test_what_it_does_not_do_it_says(proxy: tuple[str, int], words: str, status: int) -> None:
    assert say(proxy, words).startswith(f"HTTP/1.1 {status} ")


def test_a_second_request_on_one_connection_goes_nowhere_else(proxy: tuple[str, int], site: str) -> None:
    first = f"GET http://{site}/one HTTP/1.1\r\nHost: other\r\nConnection: keep-alive\r\n\r\n"
    answer = say(proxy, f"{first}GET http://index.example/two HTTP/1.1\r\nHost: index.example\r\n\r\n")
    assert f"/one of {site}" in answer, "the name it is asked by is the one that was looked at"
    assert "two" not in answer


def test_what_a_server_says_before_it_hangs_up_is_heard() -> None:
    def answer(server: socket.socket) -> None:
        for _ in range(200):
            client, _ = server.accept()
            with client:
                # The rest is never read: whoever goes on sending is told that nobody is there.
                client.recv(20)
                client.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\n\r\nenough")

    with socket.create_server(("127.0.0.1", 0)) as server:
        authority = f"127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        words = f"POST http://{authority}/ HTTP/1.1\r\nContent-Length: 20000\r\n\r\n{'x' * 20000}"
        with proxying(authority) as proxy:
            heard = [say(proxy, words) for _ in range(200)]
        thread.join()
    assert [answer for answer in heard if not answer.endswith("enough")] == []
