"""Typed rows over an ordered key-value store, one atomic durable write a block."""
