"""Tests of necrocode.git."""
