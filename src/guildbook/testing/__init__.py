"""What authors of contracts test with: a ledger in the process, actors, strategies. Public and documented."""

from guildbook.testing.ledger import Actor, CallRefused, TestLedger, refused

__all__ = ["Actor", "CallRefused", "TestLedger", "refused"]
