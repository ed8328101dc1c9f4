"""Simulated deaths: the coding lifecycle over a world in memory, killed at every place there is."""
