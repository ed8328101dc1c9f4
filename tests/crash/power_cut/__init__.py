"""Power cuts: recorded lives, and what must be true of every disk that a cut may leave of them."""
