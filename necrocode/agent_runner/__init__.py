"""The older import paths, kept for those who use them."""
