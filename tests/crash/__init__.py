"""Crash tests: the real command killed with SIGKILL, resumed, and looked at from outside."""
