"""Benchmarks: commands that print a table, not tests."""
