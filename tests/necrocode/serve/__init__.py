"""Tests of ``necrocode serve``."""
