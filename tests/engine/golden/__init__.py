"""Golden journals: what each release wrote, for all later ones to resume.

``python -m tests.engine.golden`` adds the journal of the present revision, once, before a release. One that is there is
never written again: a change that makes its test fail breaks the runs that users have.
"""
