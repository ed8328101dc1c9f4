"""Tests of necrocode.pool."""
