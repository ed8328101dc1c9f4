"""How the tests are spread."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: half as many again as there are processors, since many tests wait for processes."""
    return (len(os.sched_getaffinity(0)) * 3 + 1) // 2
