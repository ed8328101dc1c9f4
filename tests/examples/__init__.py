"""Lifecycles that have nothing to do with code, on the engine alone."""
