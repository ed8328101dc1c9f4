"""The testing kit: kill a lifecycle of any kind at every place where it touches the disk or the world.

A death is injected at the seam, not at places that somebody thought of. It cannot be caught (:class:`Death` is no
``Exception``), nothing works after it, so that no ``finally`` tidies up, and the next process finds the files as they
were at that instant. It stands for SIGKILL. A power cut takes more: ``necrocode.engine.testing.recording`` records what
SQLite writes and syncs, ``necrocode.engine.testing.powercut`` builds the disks that a cut may leave of it.

=================  =====================================================================================
:class:`Mortal`    a process that may die: its journal, and whatever else it reaches the world through
:class:`Place`     where: the n-th crossing of the seam, before it, during it or after it
`live_through`     processes that die one after the other, and a last one that is left alone
`die_everywhere`   the same with one death, at every place there is
`broken_promises`  what the engine promises of every journal, and this one does not keep
:class:`Held`      a process that goes on when it is told to: paused, woken after a take-over, killed
:class:`Rehearsal` a world and handlers for a lifecycle that has none yet, or none that a test should call
`replay`           a recorded run driven again against its own entries: what a new release must not break
=================  =====================================================================================

``necrocode.engine.testing.machine`` makes a Hypothesis state machine of all this; it needs Hypothesis, nothing else
here does.
"""

from __future__ import annotations

from necrocode.engine.testing.held import Held
from necrocode.engine.testing.lives import Life, Scenario, die_everywhere, live_through
from necrocode.engine.testing.mortality import Death, Moment, Mortal, Place, Plan, at, never
from necrocode.engine.testing.promises import broken_promises
from necrocode.engine.testing.rehearsal import Rehearsal
from necrocode.engine.testing.replay import replay

__all__ = [
    "Death",
    "Held",
    "Life",
    "Moment",
    "Mortal",
    "Place",
    "Plan",
    "Rehearsal",
    "Scenario",
    "at",
    "broken_promises",
    "die_everywhere",
    "live_through",
    "never",
    "replay",
]
