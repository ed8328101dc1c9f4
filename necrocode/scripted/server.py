"""The server that plays a script."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from necrocode.scripted.script import Answer, Fault, Script, position_of

#: Bytes of a request that are read at most.
MAX_REQUEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One chat request that reached the server."""

    #: Number of assistant messages in it, and of those that it says were left out: the place in the conversation.
    position: int
    #: Index of the conversation in the script, -1 if none was meant for it.
    conversation: int
    #: ``answer``, ``fault``, ``refused`` (wrong key, bad request) or ``ended`` (past the script's end).
    served: str
    idempotency_key: str
    #: The request's JSON document.
    body: Mapping[str, Any]


class ScriptedServer:
    """Serves ``script`` on a loopback port until it is closed; a context manager.

    ``script`` is a :class:`Script`, its JSON document, or a file of it. ``port`` 0 takes a free one. ``log`` is a file
    that gets one JSON line per request (without its body), for servers in a process of their own.
    """

    def __init__(
        self, script: Script | Path | str | Mapping[str, Any], port: int = 0, *, log: Path | None = None
    ) -> None:
        self.script = script if isinstance(script, Script) else Script.load(script)
        self._log = log
        self._lock = threading.Lock()
        self._seen: list[SeenRequest] = []
        self._faults_played: Counter[tuple[int, int]] = Counter()
        #: Set when the server closes: ends every scripted wait.
        self._closing = threading.Event()
        self._http = _Http(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="scripted", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """What an ``llm_endpoint`` is set to."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> list[SeenRequest]:
        """The chat requests so far, in the order in which they came."""
        with self._lock:
            return list(self._seen)

    @property
    def answered(self) -> list[int]:
        """Positions that were answered (no faults), in order: a recorded answer asked for again stands here twice."""
        return [request.position for request in self.requests if request.served == "answer"]

    def close(self) -> None:
        """Stop listening and cut whatever is open."""
        self._closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self._http.cut_all()

    # what the handler asks for

    def decide(self, body: Mapping[str, Any], token: str, idempotency_key: str) -> tuple[Answer | Fault, int, int]:
        """The answer or fault for a request, its position and its conversation's index."""
        messages = [message for message in body["messages"] if isinstance(message, dict)]
        position = position_of(messages)
        conversation = self.script.conversation(messages)
        index = -1 if conversation is None else self.script.conversations.index(conversation)
        answer = None if conversation is None else conversation.answer(position)
        chosen: Answer | Fault
        if self.script.key is not None and token != self.script.key:
            served, chosen = "refused", _error(401, "Incorrect API key provided.", "invalid_api_key")
        elif answer is None:
            served, chosen = "ended", _error(404, f"The script has no answer at position {position}.", "script_ended")
        else:
            served, chosen = self._answer_or_fault(answer, index, position)
        with self._lock:
            self._seen.append(SeenRequest(position, index, served, idempotency_key, body))
            if self._log is not None:
                entry = {key: value for key, value in asdict(self._seen[-1]).items() if key != "body"}
                with self._log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
        return chosen, position, index

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the server's end."""
        if seconds > 0:
            self._closing.wait(seconds)

    def _answer_or_fault(self, answer: Answer, index: int, position: int) -> tuple[str, Answer | Fault]:
        place = (index, position)
        with self._lock:
            played = self._faults_played[place]
            self._faults_played[place] += 1
        if played < len(answer.faults):
            return "fault", answer.faults[played]
        if answer.always:
            return "fault", answer.faults[-1]
        return "answer", answer


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: ScriptedServer) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the play; nothing is printed."""

    def cut_all(self) -> None:
        with self._open_lock:
            left = list(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Http

    def do_GET(self) -> None:
        if self.path.rstrip("/").endswith("/models"):
            model = {"id": self.server.owner.script.model, "object": "model", "owned_by": "scripted"}
            self._send(200, _json({"object": "list", "data": [model]}), {})
        else:
            self._play(_error(404, f"There is no {self.path}.", "not_found"))

    def do_POST(self) -> None:
        body = self._body()
        if not self.path.rstrip("/").endswith("/chat/completions"):
            self._play(_error(404, f"There is no {self.path}.", "not_found"))
        elif body is None or not isinstance(body.get("messages"), list):
            self._play(_error(400, "The body is not a chat request.", "bad_request"))
        else:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            chosen, position, index = self.server.owner.decide(body, token, self.headers.get("Idempotency-Key", ""))
            if isinstance(chosen, Fault):
                self._play(chosen, stream=bool(body.get("stream")))
                return
            self.server.owner.pause(chosen.delay_seconds)
            document = completion(chosen, body, position, index, self.server.owner.script.model)
            if body.get("stream"):
                self._stream(chunks(document, usage=bool((body.get("stream_options") or {}).get("include_usage"))))
            else:
                self._send(200, _json(document), {})

    def log_message(self, format: str, *args: object) -> None:
        """Requests are recorded, not printed."""

    def _body(self) -> dict[str, Any] | None:
        try:
            size = min(int(self.headers.get("Content-Length") or 0), MAX_REQUEST)
            document = json.loads(self.rfile.read(size))
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    def _play(self, fault: Fault, *, stream: bool = False) -> None:
        pause: Callable[[float], None] = self.server.owner.pause
        pause(fault.delay_seconds)
        if fault.hang_seconds is not None:
            pause(fault.hang_seconds)
            self.close_connection = True
        elif fault.cut and stream:
            self._stream([{"choices": [{"index": 0, "delta": {"content": "I", "tool_calls": []}}]}], whole=False)
        elif fault.cut:
            whole = b'{"id": "chatcmpl-cut", "choices": [{"index": 0, "message": {"role": "assistant", "content": "I'
            self._send(fault.status, whole, fault.headers or {}, promised=len(whole) + 500)
            self.close_connection = True
        else:
            self._send(fault.status, fault.body, fault.headers or {})

    def _stream(self, events: Iterable[Mapping[str, Any]], *, whole: bool = True) -> None:
        """Send ``events`` as a stream; not ``whole``: the connection is closed before its end."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in [*(_json(event) for event in events), *([b"[DONE]"] if whole else [])]:
            event = b"data: " + data + b"\n\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        if whole:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = not whole

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], promised: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def completion(
    answer: Answer, request: Mapping[str, Any], position: int, conversation: int, model: str
) -> dict[str, Any]:
    """``answer`` as a chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": f"call_{position}_{number}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for number, (name, arguments) in enumerate(answer.tool_calls)
        ]
    document: dict[str, Any] = {
        "id": f"chatcmpl-{max(conversation, 0)}-{position}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}],
    }
    if answer.usage is not None:
        prompt, written = answer.usage
        prompt = prompt if prompt >= 0 else len(_json(request["messages"])) // 4
        written = written if written >= 0 else len(_json(message)) // 4
        document["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": written,
            "total_tokens": prompt + written,
        }
    return document


def chunks(completion: Mapping[str, Any], *, usage: bool) -> Iterator[dict[str, Any]]:
    """A completion in pieces, as a stream has them; ``usage``: whether it was asked for."""
    head = {"id": completion["id"], "object": "chat.completion.chunk", "created": 0, "model": completion["model"]}
    (choice,) = completion["choices"]
    message = choice["message"]

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(message["content"] or ""):
        yield chunk({"content": piece})
    for number, call in enumerate(message.get("tool_calls", ())):
        yield chunk({"tool_calls": [{**call, "index": number, "function": {**call["function"], "arguments": ""}}]})
        for piece in _pieces(call["function"]["arguments"]):
            yield chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
    yield chunk({}, choice["finish_reason"])
    if usage and "usage" in completion:
        yield {**head, "choices": [], "usage": completion["usage"]}


def _pieces(text: str) -> Iterator[str]:
    size = max(64, len(text) // 16)
    return (text[start : start + size] for start in range(0, len(text), size))


def _error(status: int, message: str, code: str) -> Fault:
    return Fault(status=status, body=_json({"error": {"message": message, "type": code, "code": code}}))


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
