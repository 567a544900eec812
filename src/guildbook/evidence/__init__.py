"""Evidence: one file that proves a fact of the ledger to a stranger, offline and without trusting the node it
came from.

`format` is what a file holds, `verify` checks one against a trust anchor, `report` says in words what was
proven, `standalone` makes the verifier a program of one file, `build` exports evidence, and `source` lets it
read a ledger's store.
"""
