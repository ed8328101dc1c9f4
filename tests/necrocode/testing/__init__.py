"""Tests of :mod:`necrocode.testing`."""
