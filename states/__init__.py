"""The lifecycle of a coding task: one table, one module per state, and the ports its handlers need."""
