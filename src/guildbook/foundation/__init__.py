"""Contracts that every network has."""

from guildbook.foundation.governance import Governance
from guildbook.foundation.parties import Parties

FOUNDATION = (Governance, Parties)
"""The contracts that every network is founded with, by name."""
