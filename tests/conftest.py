"""How the tests are spread, and what they are not to depend on."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing here: the machine may be busy with another's.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# A shell that starts the tests in the background has them, and all that they start, ignore what Ctrl-C sends.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: half as many again as there are processors, since many tests wait for processes."""
    return (len(os.sched_getaffinity(0)) * 3 + 1) // 2
