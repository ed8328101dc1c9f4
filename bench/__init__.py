"""Benchmarks: one command each, a table out. They are no tests: nothing here passes or fails."""
