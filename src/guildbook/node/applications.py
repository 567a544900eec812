"""Applications that are installed beside Guildbook: found at run time, never imported by name here.

An application is found in one of three ways: as an entry point of the group ``guildbook.applications`` (name ->
``module:Class``), as a folder with an ``app.toml`` in the package of applications, or as ``module:Class`` given
outright.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
import types
from pathlib import Path

from guildbook.contract.contract import Contract
from guildbook.node.config import BadConfiguration

ENTRY_POINT_GROUP = "guildbook.applications"
APPLICATIONS_PACKAGE = "guildbook_apps"
MANIFEST_FILE = "app.toml"
CONTRACT_MODULE = "contract"


def discover() -> dict[str, str]:
    """Name -> import path (``module:Class``, or ``module`` with one contract in it) of each installed application."""
    found: dict[str, str] = {}
    package = importlib.util.find_spec(APPLICATIONS_PACKAGE)
    for place in (package.submodule_search_locations or []) if package is not None else []:
        for manifest in sorted(Path(place).glob(f"*/{MANIFEST_FILE}")):
            found[manifest.parent.name] = f"{APPLICATIONS_PACKAGE}.{manifest.parent.name}.{CONTRACT_MODULE}"
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        found[entry.name] = entry.value
    return dict(sorted(found.items()))


def load_applications(names: list[str]) -> list[type[Contract]]:
    """The contract classes of the applications ``names``. Raises BadConfiguration naming the one that is not there."""
    installed = discover()
    loaded = []
    for name in names:
        path = installed.get(name, name if ":" in name else "")
        if not path:
            raise BadConfiguration(
                f"no application {name!r} is installed",
                f"installed: {', '.join(installed) or 'none'}; or give module:Class",
                name=name,
            )
        loaded.append(_load(name, path))
    return loaded


def _load(name: str, path: str) -> type[Contract]:
    module_name, _colon, class_name = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # an application that is being written stands in the directory in which one works
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadConfiguration(
            f"the application {name!r} cannot be imported: {error}", f"check {path}", name=name
        ) from error
    contract = getattr(module, class_name, None) if class_name else _only_contract(module)
    if not (isinstance(contract, type) and issubclass(contract, Contract)):
        raise BadConfiguration(
            f"the application {name!r} has no contract at {path}", "give module:Class", name=name
        )
    return contract


def _only_contract(module: types.ModuleType) -> type[Contract] | None:
    found = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Contract) and one.__module__ == module.__name__
    ]
    return found[0] if len(found) == 1 else None
