"""What the running contracts offer: tables, events, commands and queries, by full name.

Everything that is derived for people (SQL, routes, command line, forms, reference) is derived from here.
"""

from collections.abc import Iterable

from guildbook.contract.contract import CommandSpec, Contract, EventSchema, QuerySpec
from guildbook.contract.rejected import Rejected
from guildbook.state.schema import TableSchema


class Catalogue:
    """The declarations of a set of contracts. Names are ``contract.name``; order is by name."""

    def __init__(self, contracts: Iterable[type[Contract]]) -> None:
        self.contracts: dict[str, type[Contract]] = {
            one.contract_name: one for one in sorted(contracts, key=lambda one: one.contract_name)
        }
        self.tables: dict[str, TableSchema] = {}
        self.events: dict[str, EventSchema] = {}
        self.commands: dict[str, CommandSpec] = {}
        self.queries: dict[str, QuerySpec] = {}
        self.rejections: dict[str, type[Rejected]] = {}
        for name, contract in self.contracts.items():
            for table in contract.tables.values():
                self.tables[table.schema.name] = table.schema
            self.events.update(
                {f"{name}.{event}": schema for event, schema in contract.event_schemas.items()}
            )
            self.commands.update({f"{name}.{command}": spec for command, spec in contract.commands.items()})
            self.queries.update({f"{name}.{query}": spec for query, spec in contract.queries.items()})
            self.rejections.update({rejection.code: rejection for rejection in contract.rejections})
