"""Transactions, receipts, blocks, genesis, and the one function that turns a block into a new state."""
