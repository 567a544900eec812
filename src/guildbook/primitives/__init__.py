"""Encodings, hashes, keys and proofs: pure functions from bytes to bytes, without input or output."""
