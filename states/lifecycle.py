"""The lifecycle of a coding task, on one screen."""

from __future__ import annotations

from necrocode.engine.lifecycle import Lifecycle, State, Transition, rows
from necrocode.states import guards

STATES = (
    State("received", "validates the task context again; nothing outside is touched"),
    State("registering", "runner id; registry: status running, event `RunnerStarted`"),
    State("allocating", "slot from the pool, else the task's own slot path"),
    State("preparing", "fetch; base; an earlier branch of ours moved onto it; set-up commands"),
    State("implementing", "the coder: LLM turns and tool calls, each an effect, each with a snapshot"),
    State("testing", "the test commands in the slot, structured results"),
    State("committing", "one commit of the coder's snapshot on the recorded base"),
    State("pushing", "push with an expected old value; in doubt: ask the remote"),
    State("uploading", "diff, log, test results; a failed upload warns and goes on"),
    State("reporting", "registry: artifacts, status done, event `TaskCompleted`"),
    State("failing", "keeps partial work and the log; registry: status failed, event `TaskFailed`"),
    State("cancelling", "as failing, for a cancel"),
    State("releasing", "gives the slot back, wipes credentials from memory"),
    State("completed", "the end: the branch is pushed, or the commit kept", terminal=True),
    State("failed", "the end: the task could not be done", terminal=True),
    State("cancelled", "the end: somebody asked for it", terminal=True),
)

#: The push is the point of no return: from `pushing` on nothing but a refused push makes the task fail.
STOPPABLE = ("received", "registering", "allocating", "preparing", "implementing", "testing", "committing")

TRANSITIONS = (
    Transition("accepted", "received", "registering"),
    Transition("rejected", "received", "failing"),
    Transition("registered", "registering", "allocating"),
    Transition("allocated", "allocating", "preparing"),
    Transition("prepared", "preparing", "implementing"),
    Transition("implemented", "implementing", "testing", "something_changed"),
    Transition("passed", "testing", "committing", "tests_passed"),
    Transition("failed_tests", "testing", "implementing", "attempts_left"),
    Transition("failed_tests", "testing", "failing"),
    Transition("committed", "committing", "pushing", "push_wanted"),
    Transition("committed", "committing", "uploading"),
    Transition("pushed", "pushing", "uploading"),
    Transition("uploaded", "uploading", "reporting"),
    Transition("reported", "reporting", "releasing"),
    Transition("reported_failure", "failing", "releasing"),
    Transition("reported_cancel", "cancelling", "releasing"),
    Transition("released", "releasing", "completed", "is_success"),
    Transition("released", "releasing", "failed", "is_failure"),
    Transition("released", "releasing", "cancelled", "is_cancel"),
    *rows("error", (*STOPPABLE, "pushing"), "failing"),
    *rows("deadline", STOPPABLE, "failing"),
    *rows("budget", STOPPABLE, "failing"),
    *rows("cancel", STOPPABLE, "cancelling"),
)

LIFECYCLE = Lifecycle(
    name="coding-task",
    version=1,
    initial="received",
    states=STATES,
    transitions=TRANSITIONS,
    guards={
        "something_changed": guards.something_changed,
        "tests_passed": guards.tests_passed,
        "attempts_left": guards.attempts_left,
        "push_wanted": guards.push_wanted,
        "is_success": guards.is_success,
        "is_failure": guards.is_failure,
        "is_cancel": guards.is_cancel,
    },
)
