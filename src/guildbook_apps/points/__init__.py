"""A points alliance: issuers grant points, merchants redeem them, members hold them in lots that expire."""
