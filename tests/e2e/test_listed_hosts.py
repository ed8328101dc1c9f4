"""A run whose commands may reach listed hosts only: the agent, set-up and tests alike, and what is said of it."""

from __future__ import annotations

import pytest

from necrocode.commands.sandbox import probe
from tests.e2e.stage import Stage

_PROXY = 'case "$HTTPS_PROXY" in http://127.0.0.1:*) true;; *) false;; esac'


@pytest.mark.skipif(probe().kind == "none", reason=probe().why)
def test_every_command_of_a_run_gets_its_proxy(stage: Stage) -> None:
    task = stage.task(setup_commands=[_PROXY], test_commands=[f"{_PROXY} && grep -q http made"])
    settings = {
        "NECROCODE_NETWORK": "index.example, 127.0.0.1:9",
        "NECROCODE_CODER_COMMAND": 'echo "$HTTP_PROXY" > made',
    }
    done = stage.necrocode("run", task, **settings)
    assert done.code == 0, done.err
    assert "reach what they like" not in done.err
    looked = stage.necrocode("doctor", **settings)
    assert "commands reach index.example, 127.0.0.1:9 only" in looked.out


def test_plainly_a_list_holds_nobody_which_is_said_loudly(stage: Stage) -> None:
    settings = {
        "NECROCODE_NETWORK": "index.example",
        "NECROCODE_CODER_COMMAND": "echo > made",
        "NECROCODE_SANDBOX": "off",
    }
    done = stage.necrocode("run", stage.task(test_commands=["true"]), **settings)
    assert done.code == 0, done.err
    assert "warning: commands reach what they like: network is a list of hosts" in done.err
    looked = stage.necrocode("doctor", **settings)
    assert looked.code == 3
    assert "TO DO network: a list of hosts, to which programs keep without a sandbox only if they want to" in looked.out
