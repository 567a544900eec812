"""Supervised public funds: from an appropriation to a beneficiary's receipt, with the bank's messages as facts."""
