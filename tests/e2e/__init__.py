"""Whole runs: real git, real processes, real servers on loopback."""
