"""Tests of necrocode.artifacts."""
