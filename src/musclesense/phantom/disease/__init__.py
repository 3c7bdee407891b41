"""Diseases: the muscles that each takes, and what it makes of them."""
