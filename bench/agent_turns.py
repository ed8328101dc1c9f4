"""Milliseconds per agent turn with an instant scripted model: ``python -m bench.agent_turns``.

A real run of the real command on a real repository, of 1,000 and of 10,000 files. The model's server answers at once;
each turn is one call of one tool. What a turn costs is read from the journal: from one answer to the next request, less
what the command takes by itself. Beside it, in the same run, a bare loop: the same conversation with the same server,
its calls carried out in a clone with nothing around them (no journal, no sandbox, no snapshot). Beside the first
request stands what Python takes to start and to import the packages that a run uses, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from necrocode.demo.stage import make_remote
from necrocode.engine.entry import Entry, references
from necrocode.engine.journal import Journal
from necrocode.scripted.script import Answer, Fault
from necrocode.scripted.server import ScriptedServer

TOOLS = ("bash", "edit_file", "read_file")
#: What no run does without.
PACKAGES = "openai, pydantic, pygit2, sqlalchemy, tenacity, transitions, yaml"


@dataclass(frozen=True, slots=True)
class Measured:
    """One repository's figures, in milliseconds."""

    files: int
    sandbox: str
    #: By tool: the medians of what a turn took beyond model and command.
    per_tool: Mapping[str, float]
    #: The same of all turns together, of which each tool has a third.
    any_turn: float
    #: From the start of ``run`` until the model's server has the first request, on a fresh slot and on a warm one.
    first_request_cold: float
    first_request_warm: float
    #: The median of a fresh Python that imports :data:`PACKAGES`.
    imports: float
    #: By tool: bytes of the rows that a turn adds to the journal, every column and blob counted.
    bytes_per_tool: Mapping[str, float]
    #: By tool: the medians of the bare loop, its command included.
    bare_per_tool: Mapping[str, float]
    #: Bytes of the first request, the task's title and description left out.
    first_request_bytes: int


class _Clocked(ScriptedServer):
    """Notes when each request came, in seconds since the epoch."""

    def __init__(self, script: Mapping[str, Any]) -> None:
        self.asked_at: list[float] = []
        super().__init__(script)

    def decide(self, body: Mapping[str, Any], token: str, idempotency_key: str) -> tuple[Answer | Fault, int, int]:
        """As the script has it."""
        self.asked_at.append(time.time())
        return super().decide(body, token, idempotency_key)


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.agent_turns", description=__doc__)
    parser.add_argument("--files", type=int, nargs="*", default=[1_000, 10_000], help="sizes of the repository")
    parser.add_argument("--turns", type=int, default=60, help="turns a run")
    parser.add_argument("--sandbox", default="auto", choices=["auto", "off"], help="how commands are confined")
    options = parser.parse_args()
    table = Table(title=f"per turn beyond model and command, {options.turns} turns (medians, ms)")
    columns = ("files", "sandbox", *TOOLS, "any", "first request cold", "warm", "imports alone", "its bytes")
    for column in columns:
        table.add_column(column, justify="right")
    for files in options.files:
        found = measure(files, options.turns, options.sandbox)
        table.add_row(
            f"{found.files:,}",
            found.sandbox,
            *(f"{found.per_tool[tool]:.1f}" for tool in TOOLS),
            f"{found.any_turn:.1f}",
            f"{found.first_request_cold:.0f}",
            f"{found.first_request_warm:.0f}",
            f"{found.imports:.0f}",
            f"{found.first_request_bytes:,}",
        )
        table.add_row("", "bare loop", *(f"{found.bare_per_tool[tool]:.1f}" for tool in TOOLS))
        table.add_row("", "bytes journaled", *(f"{found.bytes_per_tool[tool]:,.0f}" for tool in TOOLS))
    Console(width=120).print(table)
    return 0


def measure(files: int, turns: int, sandbox: str) -> Measured:
    """Run twice on a repository of ``files`` files (the second time on a warm slot) and read the journal."""
    with tempfile.TemporaryDirectory(prefix="necrocode-bench-") as folder:
        root = Path(folder)
        contents = {f"src/d{n // 100:03}/f{n:05}.py": f"value = {n}\n" * 20 for n in range(files)}
        make_remote(root / "remote.git", root / "seed", contents, "many files")
        with _Clocked(_script(turns)) as server:
            began = [_run(root, server, number, sandbox) for number in (1, 2)]
            asked = len(server.requests)
            cold, warm = ((server.asked_at[n * (turns + 1)] - at) * 1000 for n, at in enumerate(began))
            first = server.requests[0].body
            bare = bare_loop(root, server, turns)
        imports = statistics.median(importing() for _ in range(5))
        with Journal(root / "home" / "journal.db") as journal:
            entries = list(journal.entries(journal.runs()[-1].run_id))
            times = _times(entries, bare["bash"])
            per_tool = {tool: statistics.median(found) for tool, found in times.items()}
            any_turn = statistics.median(time for found in times.values() for time in found)
            confined = str(journal.payload(_outcomes(entries, "tool.bash")[0])["result"]["sandbox"])
            sizes = _bytes_per_tool(journal, entries)
        assert asked == 2 * (turns + 1), asked
        sent = len(json.dumps([first["messages"], first["tools"]]).encode()) - len("many turns" + "turn and turn")
        return Measured(files, confined, per_tool, any_turn, cold, warm, imports, sizes, bare, sent)


def importing() -> float:
    """Milliseconds that a fresh Python takes to import :data:`PACKAGES` as anybody would."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {PACKAGES}"], check=True)
    return (time.perf_counter() - began) * 1000


def bare_loop(root: Path, server: ScriptedServer, turns: int) -> dict[str, float]:
    """By tool: median milliseconds from an answer to the next request, of a loop that only does what it is told."""
    from openai import OpenAI

    folder = root / "bare"
    subprocess.run(["git", "clone", "--quiet", root / "remote.git", folder], check=True)
    messages: list[Any] = [{"role": "user", "content": "turn and turn"}]
    found: dict[str, list[float]] = {}
    with OpenAI(base_url=server.url, api_key="key-of-the-bench", max_retries=0) as client:
        for _ in range(turns):
            answer: Any = client.chat.completions.create(model="scripted", messages=messages).choices[0].message
            began = time.perf_counter()
            (call,) = answer.tool_calls
            told = _carry_out(folder, call.function.name, json.loads(call.function.arguments))
            messages += [answer.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": told}]
            found.setdefault(call.function.name, []).append((time.perf_counter() - began) * 1000)
    return {tool: statistics.median(times) for tool, times in found.items()}


def _carry_out(folder: Path, tool: str, given: Mapping[str, Any]) -> str:
    if tool == "bash":
        argv = ["bash", "-c", given["command"]]
        return str(subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False).stdout)
    file: Path = folder / given["path"]
    content: str = file.read_text(encoding="utf-8")
    if tool == "edit_file":
        file.write_text(content.replace(given["old_text"], given["new_text"]), encoding="utf-8")
    return content


def _script(turns: int) -> dict[str, Any]:
    """Turns that read, edit and run in turn, then finish."""
    answers: list[dict[str, Any]] = []
    for turn in range(turns):
        tool: tuple[str, dict[str, Any]] = (
            ("read_file", {"path": f"src/d000/f{turn % 100:05}.py"}),
            ("edit_file", {"path": "src/d000/f00000.py", "old_text": _marker(turn), "new_text": _marker(turn + 3)}),
            ("bash", {"command": f"true {turn}"}),
        )[turn % 3]
        if turn == 1:
            tool[1]["old_text"] = "value = 0\n" * 20
        answers.append({"tool_calls": [{"name": tool[0], "arguments": tool[1]}]})
    answers.append({"tool_calls": [{"name": "finish", "arguments": {"summary": "done"}}]})
    return {"model": "scripted", "answers": answers}


def _marker(turn: int) -> str:
    return f"edited = {turn}\n"


def _run(root: Path, server: ScriptedServer, number: int, sandbox: str) -> float:
    """Run once; returns when the command was started, in seconds since the epoch."""
    task = root / f"task{number}.yaml"
    task.write_text(
        f"task_id: '{number}'\nspec_name: bench\ntitle: many turns\ndescription: turn and turn\n"
        f"repo_url: {root / 'remote.git'}\ntest_commands: ['true']\n",
        encoding="utf-8",
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "NECROCODE_HOME": str(root / "home"),
        "NECROCODE_LLM_ENDPOINT": server.url,
        "NECROCODE_MAX_TURNS": "100000",
        "NECROCODE_SANDBOX": sandbox,
        "LLM_API_KEY": "key-of-the-bench",
    }
    command = [sys.executable, "-m", "necrocode", "run", str(task)]
    began = time.time()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the run ended with exit code {done.returncode}:\n{done.stderr}")
    return began


def _times(entries: list[Entry], command: float) -> dict[str, list[float]]:
    """By tool: what each turn took beyond model and command, in milliseconds; ``command`` is what the bare loop needs
    for one, so that the sandbox is counted.
    """
    found: dict[str, list[float]] = {}
    for tool, took in _turns(entries):
        found.setdefault(tool, []).append(took - (command if tool == "bash" else 0.0))
    return found


def _turns(entries: list[Entry]) -> Iterator[tuple[str, float]]:
    """Tool, and milliseconds from the answer to the next request."""
    answered: Entry | None = None
    used: Entry | None = None
    for entry in entries:
        if entry.name == "llm.chat" and entry.kind == "intent" and answered is not None and used is not None:
            yield used.name.removeprefix("tool."), (entry.at - answered.at) / 1000
        if entry.name == "llm.chat" and entry.kind == "outcome":
            answered, used = entry, None
        elif entry.name.startswith("tool.") and entry.kind == "outcome":
            used = entry


def _outcomes(entries: list[Entry], name: str) -> list[Entry]:
    return [entry for entry in entries if entry.kind == "outcome" and entry.name == name]


def _bytes_per_tool(journal: Journal, entries: list[Entry]) -> dict[str, float]:
    """Medians of what a turn adds: the intent and the outcome of the answer, and of the tool that it calls."""
    found: dict[str, list[int]] = {}
    size, tool = 0, ""
    for entry in entries:
        if entry.name == "llm.chat" and entry.kind == "intent":
            if tool:
                found.setdefault(tool, []).append(size)
            size, tool = 0, ""
        elif entry.name.startswith("tool."):
            tool = entry.name.removeprefix("tool.")
        size += _size(journal, entry)
    return {tool: statistics.median(sizes) for tool, sizes in found.items()}


def _size(journal: Journal, entry: Entry) -> int:
    """Bytes of every column of the row, and of its blobs. A record's own header, a dozen bytes, comes on top."""
    with journal.database.read() as connection:
        row = connection.exec_driver_sql(
            "SELECT length(CAST(payload AS BLOB)) + length(run_id) + length(kind) + length(state) + length(name) "
            "+ length(key) + length(prev_hash) + length(hash) FROM entries WHERE run_id = ? AND seq = ?",
            (entry.run_id, entry.seq),
        ).scalar_one()
        blobs = sum(
            connection.exec_driver_sql(
                "SELECT length(data) FROM blobs WHERE run_id = ? AND sha256 = ?", (entry.run_id, digest)
            ).scalar_one()
            for digest in references(entry.payload)
        )
    # seq, epoch and time
    return int(row) + 2 + 1 + 8 + int(blobs)


if __name__ == "__main__":
    raise SystemExit(main())
