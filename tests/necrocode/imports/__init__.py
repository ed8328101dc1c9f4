"""Tests of necrocode.imports."""
