"""Tests of necrocode.registry."""
