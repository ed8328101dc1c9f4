"""``necrocode serve``: the three services over HTTP, for teams that have none of their own."""
