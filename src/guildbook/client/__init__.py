"""Clients: build, sign, submit, wait, read and prove; over HTTP or in the process, with one interface."""

from guildbook.client.base import LedgerClient, Submitted, TransactionRefused
from guildbook.client.local import LocalClient
from guildbook.client.remote import Client

__all__ = ["Client", "LedgerClient", "LocalClient", "Submitted", "TransactionRefused"]
