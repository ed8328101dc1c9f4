"""The migrations make what the models say, for many processes at once."""
