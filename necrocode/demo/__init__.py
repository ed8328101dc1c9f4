"""The demo: a real run on a small real repository, killed with SIGKILL in the middle and resumed."""
