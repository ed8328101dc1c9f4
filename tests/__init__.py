"""The tests mirror the three packages."""
