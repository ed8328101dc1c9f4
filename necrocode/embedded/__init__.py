"""The embedded services: what a machine with no servers uses instead of them."""
