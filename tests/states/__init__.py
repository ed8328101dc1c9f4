"""The lifecycle of a coding task."""
