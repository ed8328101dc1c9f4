"""The durable state-machine kernel: knows nothing of git, LLMs or coding tasks."""
