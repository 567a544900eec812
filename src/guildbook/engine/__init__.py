"""Engines decide which transactions come in which order; the chain layer decides what they do."""
