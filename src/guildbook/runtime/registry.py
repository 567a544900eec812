"""Contracts by the hash of their source.

A release on the ledger names a source by its SHA-256. A node finds the class for it among the contracts it has
installed, or else reads the text that the ledger keeps and loads that. So a block of any age runs under the code
that decided it, on a node installed today. A source passes the determinism gate before it is loaded; the gate
protects members from mistakes, and members vote on a source before it runs: it is not a sandbox.
"""

import inspect
import sys
import types
from collections.abc import Callable
from pathlib import Path

from guildbook.contract.contract import Contract
from guildbook.primitives.errors import GuildbookError
from guildbook.primitives.hashing import sha256
from guildbook.runtime.gate import require_deterministic
from guildbook.state.record import SOURCE_CHARS_MAX


class LoadedContract:
    """A contract class and the source that it came from."""

    def __init__(self, contract: type[Contract], text: str) -> None:
        self.contract = contract
        self.text = text
        self.source_hash = source_hash(text)

    @property
    def name(self) -> str:
        """The contract's name."""
        return self.contract.contract_name

    @property
    def version(self) -> int:
        """The contract's version."""
        return self.contract.contract_version


def source_hash(text: str) -> bytes:
    """The identity of a contract source: the SHA-256 (32 bytes) of its UTF-8 text."""
    return sha256(text.encode("utf-8"))


def _contract_in(module: types.ModuleType, file_name: str) -> type[Contract]:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Contract) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise GuildbookError(
            "contract.bad_declaration",
            f"{file_name} defines {len(found)} contracts",
            hint="put exactly one Contract class in the file",
        )
    contract: type[Contract] = found[0]
    return contract


class Registry:
    """The contracts that a node can run, by source hash.

    ``installed`` come with the node; others are loaded from the text on the ledger when a block needs them.
    """

    def __init__(self) -> None:
        self._by_hash: dict[bytes, LoadedContract] = {}
        self._installed: dict[str, LoadedContract] = {}
        self._unloadable: dict[bytes, str] = {}

    @property
    def installed(self) -> dict[str, LoadedContract]:
        """The installed contracts by name."""
        return dict(self._installed)

    def install(self, contract: type[Contract]) -> LoadedContract:
        """Make an imported contract class runnable; its source is the file that defines it.

        Raises GuildbookError ``contract.not_deterministic`` or ``contract.bad_declaration``.
        """
        module = sys.modules[contract.__module__]
        file_name = inspect.getsourcefile(contract) or contract.__module__
        text = Path(file_name).read_text("utf-8") if Path(file_name).exists() else inspect.getsource(module)
        _contract_in(module, file_name)
        return self._add(contract, text, file_name, installed=True)

    def load(self, text: str, file_name: str) -> LoadedContract:
        """Load a contract from source text (at most 262144 characters); the same text is loaded once."""
        known = self._by_hash.get(source_hash(text))
        if known is not None:
            return known
        require_deterministic(text, file_name)
        name = f"guildbook_source_{source_hash(text).hex()[:24]}"
        module = types.ModuleType(name)
        module.__file__ = file_name
        sys.modules[name] = module
        try:
            exec(compile(text, file_name, "exec"), vars(module))  # noqa: S102 - members agreed on this source by its hash
            contract = _contract_in(module, file_name)
        except Exception:
            del sys.modules[name]
            raise
        return self._add(contract, text, file_name, installed=False)

    def _add(self, contract: type[Contract], text: str, file_name: str, *, installed: bool) -> LoadedContract:
        if len(text) > SOURCE_CHARS_MAX:
            raise GuildbookError(
                "contract.bad_declaration",
                f"{file_name} has {len(text)} characters",
                hint=f"a contract source has at most {SOURCE_CHARS_MAX}; split the contract",
            )
        require_deterministic(text, file_name)
        loaded = LoadedContract(contract, text)
        self._by_hash[loaded.source_hash] = loaded
        if installed:
            self._installed[loaded.name] = loaded
        return loaded

    def can_run(self, wanted: bytes, name: str, version: int, text_on_ledger: Callable[[], str]) -> bool:
        """Whether source ``wanted`` loads here, and is ``version`` of the contract ``name``."""
        if wanted in self._unloadable:
            return False
        try:
            loaded = self.resolve(wanted, text_on_ledger)
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a source does when it is loaded, it does not run
            self._unloadable[wanted] = f"{type(error).__name__}: {error}"
            return False
        return (loaded.name, loaded.version) == (name, version)

    @property
    def unloadable(self) -> dict[bytes, str]:
        """Sources that were wanted and could not be loaded, by hash, with the reason for the node's log."""
        return dict(self._unloadable)

    def resolve(self, wanted: bytes, text_on_ledger: Callable[[], str]) -> LoadedContract:
        """The contract with source hash ``wanted``, loaded from ``text_on_ledger()`` when it is not known yet."""
        known = self._by_hash.get(wanted)
        if known is not None:
            return known
        loaded = self.load(text_on_ledger(), f"<ledger source {wanted.hex()[:16]}>")
        assert loaded.source_hash == wanted, f"the ledger keeps another text under source {wanted.hex()}"
        return loaded
