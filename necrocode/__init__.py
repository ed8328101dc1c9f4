"""necrocode: a coding-agent runner that you can kill."""
