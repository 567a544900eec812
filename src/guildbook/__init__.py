"""Guildbook: a ledger that organisations keep together."""

__version__ = "0.1.0"
