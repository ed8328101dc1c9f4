"""Tests of the engine: written to be read as its specification."""
