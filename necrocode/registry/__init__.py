"""Task registries: who is told what becomes of a task."""
