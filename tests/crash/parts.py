"""Parts of a campaign: what each tries, and what it takes to try one of its trials again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeAlias

from tests.crash.tally import Tally

Job: TypeAlias = Callable[[], Tally]
"""Some trials, made in a worker: it can be pickled."""


@dataclass(frozen=True)
class Asked:
    """What a campaign is asked for, whatever the part."""

    #: The same seed gives the same trials (the moments at which real deaths hit are the machine's).
    seed: int = 1
    #: Only scenarios and controls whose names hold these words.
    only: str = ""
    #: Whether the real part begins with every seam and every entry of each scenario, in turn.
    sweep: bool = False


@dataclass(frozen=True)
class Part:
    """One part of a campaign."""

    name: str
    #: What ends it: so many deaths (``"deaths"``), or that there is nothing left to try (``"all"``).
    until: str
    #: Its jobs, in the order in which they are to be done. The executor is there for what has to be known before.
    jobs: Callable[[Asked, Executor], Iterator[Job]]
    #: Tries one trial again, by what a failure says after the part's name. Raises ``ValueError`` if there is none.
    again: Callable[[str, Asked], Tally]
