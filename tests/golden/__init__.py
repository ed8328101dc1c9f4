"""Golden runs: whole runs of the real command, recorded once by each kind of end, for all later releases to go on with.

``python -m tests.golden NAME`` records one, before a release. One that is there is never written again: a change that
makes its test fail breaks the runs that users have.
"""
