"""Every error of the engine, one class per leaf.

::

    EngineError
    ├── LifecycleError (ValueError)         the table is not a lifecycle
    ├── NoTransition                        the trigger leads nowhere from this state
    ├── RunError
    │   ├── RunNotFound (LookupError)       no such run in this journal
    │   ├── SubjectBusy                     another live run has the same subject
    │   ├── RunEnded                        the run has ended
    │   └── LeaseHeld                       another live process drives the run
    ├── EffectFailed                        a tolerated effect failed; the handler goes on without it
    ├── TaskError                           the task's own fault: fires a declared trigger
    └── EnvironmentFault                    the surroundings are broken: parks the run
        ├── Transient                       worth another attempt
        │   └── Unreached                   … that certainly never arrived at the other side
        ├── InDoubt                         an effect may have happened and nobody can tell
        ├── NonDeterminismError             the handler did something else than it did before
        └── JournalError
            ├── JournalUnavailable          locked, read-only, disk full
            ├── JournalTooNew               written by a newer release
            └── JournalDamaged              it does not say what it said when it was written

    StopSignal (BaseException)              not errors: handlers must let them pass
    ├── Interrupted                         the process was asked to stop; the run stays resumable
    ├── Superseded                          somebody else drives the run now
    └── StopTriggered                       fires a declared trigger (cancel, deadline)

An exception of no class above that leaves a handler is a bug; the run is parked with it, nothing is lost.
"""

from __future__ import annotations

from datetime import timedelta


class EngineError(Exception):
    """Something the engine refuses or cannot do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or " ".join((type(self).__doc__ or type(self).__name__).split()))


class LifecycleError(EngineError, ValueError):
    """The table is not a lifecycle."""


class NoTransition(EngineError):
    """The trigger leads nowhere from this state: undeclared, or every guard refused."""


class RunError(EngineError):
    """The run cannot be driven."""


class RunNotFound(RunError, LookupError):
    """There is no such run in this journal."""


class SubjectBusy(RunError):
    """Another live run has the same subject.

    ``run_id`` names it.
    """

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunEnded(RunError):
    """The run has ended."""


class LeaseHeld(RunError):
    """Another live process drives this run."""


class EffectFailed(EngineError):
    """An effect that the handler can do without has failed for good, which is recorded."""

    def __init__(self, message: str, *, stop_reason: str) -> None:
        super().__init__(message)
        self.stop_reason = stop_reason


class TaskError(EngineError):
    """The task itself cannot succeed: the run fires ``trigger`` (a declared one) and goes where the table says.

    ``stop_reason`` is a stable word for scripts, such as ``tests_failed``.
    """

    def __init__(self, message: str, *, stop_reason: str, trigger: str = "error") -> None:
        super().__init__(message)
        self.stop_reason = stop_reason
        self.trigger = trigger


class EnvironmentFault(EngineError):
    """The surroundings are broken (a login refused, a service down, a full disk): the run parks, unchanged.

    ``stop_reason`` is a stable word for scripts, such as ``llm_auth``.
    """

    stop_reason: str = "environment"

    def __init__(self, message: str = "", *, stop_reason: str | None = None) -> None:
        super().__init__(message)
        if stop_reason is not None:
            self.stop_reason = stop_reason


class Transient(EnvironmentFault):
    """It failed in a way that may pass (network, 429, 5xx, a lock): worth another attempt.

    ``retry_after`` is the wait the other side asked for, if it did.
    """

    stop_reason = "service_unavailable"

    def __init__(
        self, message: str = "", *, stop_reason: str | None = None, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message, stop_reason=stop_reason)
        self.retry_after = retry_after


class Unreached(Transient):
    """The other side could not be reached: nothing of the attempt can have arrived there."""


class InDoubt(EnvironmentFault):
    """The process died while this effect was under way, and nobody can tell whether it happened."""

    stop_reason = "in_doubt"


class NonDeterminismError(EnvironmentFault):
    """On replay the handler asked for another effect than the one recorded in that place."""

    stop_reason = "nondeterminism"


class JournalError(EnvironmentFault):
    """The journal cannot be used."""

    stop_reason = "journal"


class JournalUnavailable(JournalError):
    """The journal cannot be written or read now: locked, read-only, or the disk is full."""

    stop_reason = "journal_unavailable"


class JournalTooNew(JournalError):
    """The journal was written by a newer release than this one."""

    stop_reason = "journal_too_new"


class JournalDamaged(JournalError):
    """The journal does not say what it said when it was written."""

    stop_reason = "journal_damaged"


class StopSignal(BaseException):
    """Leaves a handler without being an error; only the driver catches it."""


class Interrupted(StopSignal):
    """This process was asked to stop. The run keeps its state and can be resumed."""


class Superseded(StopSignal):
    """Another process took the run over: nothing may be appended or touched any more."""


class StopTriggered(StopSignal):
    """The run is to leave its state by ``trigger`` (``cancel``, ``deadline``)."""

    def __init__(self, trigger: str, message: str, *, stop_reason: str) -> None:
        super().__init__(message)
        self.trigger = trigger
        self.stop_reason = stop_reason
