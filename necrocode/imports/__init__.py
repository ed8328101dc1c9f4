"""Imports: what users have already, as task sets. One module a format."""
