"""The command itself: ports, an end that loses nothing, a death that loses nothing, health and metrics."""

from __future__ import annotations

import itertools
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sized
from functools import partial
from pathlib import Path

import httpx
import pytest

from necrocode.artifacts.local import LocalArtifacts
from necrocode.embedded.database import open_services
from necrocode.registry.listing import list_events
from tests.necrocode.serve.serving import Served, command, eventually

ASK = {"repo_url": "https://git.example/x.git", "required_by": "run-1"}


def test_one_port_serves_all_and_three_serve_one_each(tmp_path: Path) -> None:
    with command(tmp_path / "one") as served:
        assert len(set(served.urls.values())) == 1
        eventually(lambda: served.process.said()[1].endswith("\n"))
        first, *_ = served.process.said()[1].splitlines()
        assert "no tokens: everybody on this machine may do everything here" in first
    with command(tmp_path / "three", "--registry-port", "0", "--pool-port", "0", "--artifacts-port", "0") as served:
        assert len(set(served.urls.values())) == 3
        for part, path in (("registry", "/tasks"), ("pool", "/slots"), ("artifacts", "/artifacts")):
            found = {name: httpx.get(url + path).status_code for name, url in served.urls.items()}
            assert {name for name, status in found.items() if status != 404} == {part}
            assert all(httpx.get(f"{url}/health").status_code == 200 for url in served.urls.values())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_requests_under_way(tmp_path: Path, number: signal.Signals) -> None:
    with command(tmp_path / "home") as served:
        address = httpx.URL(served.urls["artifacts"])
        body = b'--b\r\nContent-Disposition: form-data; name="type"\r\n\r\nlog\r\n' + (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nthe content\r\n--b--\r\n'
        )
        head = (
            f"POST /artifacts HTTP/1.1\r\nHost: {address.netloc.decode()}\r\nConnection: close\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((address.host, address.port)) as upload:
            upload.sendall(head.encode() + body[:60])
            metrics = f"{served.url}/metrics"
            eventually(lambda: "necrocode_requests_under_way 2" in httpx.get(metrics).text)
            served.process.send_signal(number)
            eventually(lambda: _refuses(address))
            assert served.process.poll() is None
            upload.sendall(body[60:])
            answer = b"".join(iter(lambda: upload.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 201")
        _, err = served.process.communicate(timeout=60)
        assert served.process.returncode == 0
        assert "ended; nothing that was acknowledged is lost" in err
    database = open_services(tmp_path / "home")
    store = LocalArtifacts(database, tmp_path / "home" / "artifacts")
    (kept,) = store.list_artifacts()
    assert store.download(kept.artifact.uri) == b"the content"
    database.close()


def _refuses(address: httpx.URL) -> bool:
    try:
        socket.create_connection((address.host, address.port or 0)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_who_waits_for_a_slot_is_told_to_ask_again_when_it_ends(tmp_path: Path) -> None:
    with command(tmp_path / "home", environ=None) as served, httpx.Client(base_url=served.url, timeout=90) as client:
        for number in range(4):
            assert client.post("/slots/allocate", json={**ASK, "required_by": f"r{number}"}).status_code == 200
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{served.url}/slots/allocate", json={**ASK, "timeout_seconds": 60}, timeout=90)
            )
        )
        asking.start()
        eventually(lambda: "necrocode_requests_under_way 2" in client.get("/metrics").text)
        served.process.terminate()
        asking.join()
        assert (answers[0].status_code, answers[0].headers["retry-after"]) == (503, "1")
        served.process.communicate(timeout=60)
        assert served.process.returncode == 0


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    home = tmp_path / "home"
    acknowledged: set[str] = set()
    uploads: dict[str, bytes] = {}
    slot: dict[str, object] = {}
    numbers = itertools.count()
    for kill in range(3):
        with command(home) as served:
            stop = threading.Event()

            def report(served: Served = served, stop: threading.Event = stop) -> None:
                with httpx.Client() as client:
                    while not stop.is_set():
                        key = f"event-{next(numbers)}"
                        content = key.encode() * 1000
                        try:
                            event = client.post(
                                f"{served.url}/tasks/1/events",
                                json={"event_type": "E", "data": {"key": key}},
                                headers={"Idempotency-Key": key},
                            )
                            assert event.status_code == 204
                            acknowledged.add(key)
                            kept = client.post(
                                f"{served.url}/artifacts", files={"file": ("x", content)}, data={"type": "log"}
                            )
                            assert kept.status_code == 201
                            uploads[kept.json()["sha256"]] = content
                        except httpx.TransportError:
                            return

            threads = [threading.Thread(target=report) for _ in range(4)]
            for thread in threads:
                thread.start()
            if kill == 0:
                slot = httpx.post(f"{served.url}/slots/allocate", json=ASK).json()
            eventually(partial(_has, uploads, len(uploads) + 20))
            served.process.kill()
            stop.set()
            for thread in threads:
                thread.join()
    database = open_services(home)
    found = {event.data["key"] for event in list_events(database, limit=1_000_000)}
    store = LocalArtifacts(database, home / "artifacts")
    for sha256, content in uploads.items():
        assert store.download(store.uri_of(sha256)) == content
    database.close()
    assert len(acknowledged) >= 60 and acknowledged <= found
    # a lease outlives the server, too
    with command(home) as served:
        assert httpx.post(f"{served.url}/slots/{slot['slot_id']}/renew", json={"generation": 1}).status_code == 200


def _has(found: Sized, wanted: int) -> bool:
    return len(found) >= wanted


def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = [sys.executable, "-m", "necrocode", "serve", "--home", str(tmp_path / "home"), "--port", port]
        refused = subprocess.run(line, capture_output=True, text=True, check=False)
    assert refused.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; name another with --port" in refused.stderr


def test_it_is_ready_and_counts(tmp_path: Path) -> None:
    with command(tmp_path / "home") as served, httpx.Client(base_url=served.url) as client:
        assert client.get("/ready").status_code == 200
        client.get("/tasks/1")
        client.get("/tasks/2")
        client.post("/slots/allocate", json=ASK)
        answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.text.splitlines()
        assert 'necrocode_requests_total{method="GET",route="/tasks/{task_id}",status="404"} 2' in lines
        assert 'necrocode_request_seconds_count{route="/tasks/{task_id}"} 2' in lines
        assert 'necrocode_slots{state="lent"} 1' in lines
        folder = tmp_path / "home" / "artifacts"
        shutil.rmtree(folder)
        folder.write_text("a file in its place")
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
