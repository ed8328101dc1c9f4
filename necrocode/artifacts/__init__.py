"""Artifact stores: where diffs, logs and test results are kept."""
