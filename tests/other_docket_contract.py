"""A second contract, which tries what only the first may."""

from guildbook.contract import Contract, Positive, Timestamp, command, use
from guildbook.foundation.cases import Cases, Outcome


class OtherDocket(Contract, name="other_docket", version=1):
    """Tries to act on cases of another contract."""

    cases = use(Cases)

    @command
    def decide(self, case: Positive) -> None:
        """Try to decide with the signer's permission."""
        self.cases.decide(case, Outcome.UPHELD, "mine", "")

    @command
    def freeze(self, case: Positive, until: Timestamp) -> int:
        """Try to freeze."""
        return self.cases.freeze(case, "invoices", "i-1", 1, until)

    @command
    def speak(self, case: Positive) -> int:
        """Try to speak."""
        return self.cases.speak(case, "mine")

    @command
    def close(self, case: Positive) -> int:
        """Try to close."""
        return self.cases.close(case)
