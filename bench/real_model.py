"""A whole run with a real model, killed in the middle: ``python -m bench.real_model``.

The server and the model are packages that nobody here wrote (:mod:`bench.model_server`). The model is far too small to
do the task; what is tried is everything around it: each answer is held to the schema of actions, parsed, recorded, and
after a SIGKILL not asked for again, and the run ends with the exit code of its reason.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.model_server import CONTEXT, missing, served_model
from bench.relay import relayed
from necrocode.coder.actions import read_action
from necrocode.coder.tools.offer import Malformed
from tests.e2e.stage import Stage

#: Exit codes by the run's reason; any other reason is a task that failed.
CODES: Mapping[str | None, int] = {None: 0, "budget": 6, "deadline": 6, "stuck": 7}


@dataclass(frozen=True, slots=True)
class Answer:
    """One recorded answer."""

    #: The tool that it names; empty if it is no action.
    tool: str
    #: Why it is none.
    wrong: str
    #: Whether it was cut at its longest length.
    cut: bool
    text: str
    tokens_in: int
    tokens_out: int
    #: From the question to the record.
    seconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of the run."""

    exit_code: int
    stop_reason: str | None
    answers: tuple[Answer, ...]
    #: How many were recorded when the runner was killed.
    before: int
    #: Places in the conversation that were asked for, by the killed runner and by the one that went on.
    asked_before: tuple[int, ...]
    asked_after: tuple[int, ...]
    seconds: float

    @property
    def bought_twice(self) -> list[int]:
        """Places whose recorded answer was asked for again."""
        # the one that was under way when the runner died, nobody has
        lost = {self.before} if self.asked_before[-1] == self.before else set()
        asked = Counter([*self.asked_before, *self.asked_after])
        return [place for place, times in asked.items() if times > 1 + (place in lost)]

    @property
    def unread(self) -> list[Answer]:
        """Answers that were not cut and yet are no action."""
        return [answer for answer in self.answers if answer.wrong and not answer.cut]


def main() -> int:
    """Run, print what happened; 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m bench.real_model", description=__doc__)
    parser.add_argument("--turns", type=int, default=6, help="answers that the model may give (default: 6)")
    parser.add_argument("--answer-tokens", type=int, default=300, help="tokens of one answer (default: 300)")
    parser.add_argument("--seed", type=int, default=1, help="of the model's sampling (default: 1)")
    parser.add_argument("--mode", default="actions", choices=["actions", "auto"], help="how it is asked")
    parser.add_argument("--no-stream", action="store_true", help="ask for whole answers")
    parser.add_argument("--keep", type=Path, help="folder to work in, and to keep")
    options = parser.parse_args()
    absent = missing()
    if absent is not None:
        raise SystemExit(absent)
    with TemporaryDirectory(prefix="necrocode-model-") if options.keep is None else nullcontext(options.keep) as root:
        Path(root).mkdir(parents=True, exist_ok=True)
        settings = {"NECROCODE_TOOL_MODE": options.mode, "NECROCODE_LLM_STREAM": str(not options.no_stream)}
        trial = run(Path(root), options.turns, options.answer_tokens, seed=options.seed, settings=settings)
    console = Console(width=120)
    console.print(_table(trial))
    for answer in trial.answers:
        if answer.wrong:
            console.print(f"no action ({'cut' if answer.cut else 'whole'}): {answer.wrong}", markup=False)
    spent = sum(answer.seconds for answer in trial.answers)
    told = sum(answer.tokens_out for answer in trial.answers)
    console.print(f"exit code {trial.exit_code}, stop reason {trial.stop_reason}, {trial.seconds:.0f} s in all")
    console.print(f"killed after {trial.before} answers; asked for before {trial.asked_before}, after it")
    console.print(f"{trial.asked_after}; recorded answers asked for again: {trial.bought_twice or 'none'}")
    console.print(f"{told / spent:.1f} tokens a second over questions and answers")
    # asked in another way first, its answers may be anything
    read = options.mode != "actions" or not trial.unread
    held = trial.exit_code == CODES.get(trial.stop_reason, 1) and not trial.bought_twice and read
    return 0 if held else 1


def run(
    root: Path, turns: int, answer_tokens: int, *, seed: int = 1, settings: Mapping[str, str] | None = None
) -> Trial:
    """One run of the real command on a small repository below ``root``, killed after its second answer.

    Afterwards the journal must verify, and nothing may be left: ``AssertionError`` otherwise.
    """
    stage = Stage(root, afresh=True)
    stage.make_remote()
    stage.environment |= {
        "NECROCODE_TOOL_MODE": "actions",
        "NECROCODE_LLM_MODEL": "smollm2",
        "NECROCODE_LLM_MAX_TOKENS": str(answer_tokens),
        "NECROCODE_LLM_TIMEOUT_SECONDS": "300",
        "NECROCODE_MAX_TURNS": str(turns),
        "NECROCODE_CONTEXT_WINDOW": str(CONTEXT),
        **(settings or {}),
    }
    with served_model(root, seed=seed) as model, relayed(model) as relay:
        stage.environment["NECROCODE_LLM_ENDPOINT"] = relay.url
        began = time.monotonic()
        process = stage.start("run", stage.task())
        # asked for the third time, so that two are recorded and one is under way
        stage.wait_until(lambda: len(relay.positions) >= 3, process)
        time.sleep(1.0)
        process.kill()
        process.communicate()
        before, asked_before = len(_answers(stage)), tuple(relay.positions)
        done = stage.necrocode("resume", "--all")
        seconds = time.monotonic() - began
        asked_after = tuple(relay.positions[len(asked_before) :])
    assert stage.necrocode("verify", "--all").code == 0
    stage.left_nothing()
    ended = stage.only_run
    assert ended.status == "closed", done.err
    return Trial(done.code, ended.stop_reason, tuple(_answers(stage)), before, asked_before, asked_after, seconds)


def _answers(stage: Stage) -> list[Answer]:
    found, asked = [], 0
    for entry, payload in stage.entries():
        if entry.name != "llm.chat":
            continue
        if entry.kind == "intent":
            asked = entry.at
        elif entry.kind == "outcome" and "text" in payload["result"]:
            found.append(_answer(payload["result"], (entry.at - asked) / 1_000_000))
    return found


def _answer(result: Mapping[str, Any], seconds: float) -> Answer:
    try:
        tool, wrong = read_action(result["text"])[0], ""
    except Malformed as error:
        tool, wrong = "", str(error)
    cut = result["finish_reason"] == "length"
    return Answer(tool, wrong, cut, result["text"], result["tokens_in"], result["tokens_out"], seconds)


def _table(trial: Trial) -> Table:
    table = Table(title="what the model answered")
    for column in ("answer", "tokens in", "out", "seconds", "tool", "cut"):
        table.add_column(column, justify="right")
    for number, answer in enumerate(trial.answers, 1):
        row = (number, answer.tokens_in, answer.tokens_out, f"{answer.seconds:.1f}", answer.tool or "none", answer.cut)
        table.add_row(*map(str, row))
    return table


if __name__ == "__main__":
    raise SystemExit(main())
