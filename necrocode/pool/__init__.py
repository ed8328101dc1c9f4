"""Repo pools: who lends slots."""
