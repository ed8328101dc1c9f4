"""A whole run with a real model behind a real server, neither of them ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.model_server import missing
from bench.real_model import CODES, run

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def test_a_real_model_is_held_to_the_schema_resumed_after_a_kill_and_ends_with_the_right_code(tmp_path: Path) -> None:
    trial = run(tmp_path, turns=4, answer_tokens=120)

    assert trial.answers
    assert not trial.unread, "an answer that was not cut is an action"
    assert trial.before == 2, "it was killed in the middle"
    assert not trial.bought_twice, "a recorded answer was asked for again"
    assert trial.exit_code == CODES.get(trial.stop_reason, 1)
