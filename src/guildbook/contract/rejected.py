"""Refusals: what a contract says when it will not do what was asked.

A refusal is expected. It leaves no trace in state, and its receipt carries a stable code and typed fields, never
text that a library or a language version could change. The code is ``<contract>.<snake_case class name>``; the
first line of the docstring is the message shown to people.
"""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, dataclass_transform

from guildbook.state.record import FieldSpec, bad_declaration, checker, field_specs, snake_case


@dataclass_transform(kw_only_default=True)
class Rejected(Exception):
    """Base of all refusals. Subclasses declare typed fields as annotations and are listed in ``rejections``."""

    code: ClassVar[str] = ""
    """Set when a contract lists the class: ``<contract>.<snake_case name>``."""
    field_names: ClassVar[tuple[str, ...]] = ()
    specs: ClassVar[tuple[FieldSpec, ...]] = ()
    _broken: ClassVar[Callable[[Any], str | None]]

    def __init_subclass__(cls, **options: Any) -> None:
        """Derive the typed constructor of the refusal."""
        super().__init_subclass__(**options)
        names = tuple(name for name in inspect.get_annotations(cls) if not name.startswith("_"))
        cls.field_names = names
        cls.specs = field_specs(cls) if names else ()
        cls._broken = staticmethod(checker(cls, names))
        cls.code = ""

    def __init__(self, **fields: Any) -> None:
        if set(fields) != set(self.field_names):
            raise TypeError(f"{type(self).__name__} takes the fields {', '.join(self.field_names) or 'none'}")
        for name, value in fields.items():
            setattr(self, name, value)
        broken = type(self)._broken(self)
        if broken is not None:
            raise TypeError(f"{type(self).__name__}.{broken} does not fit its declared type")
        super().__init__(type(self).code or type(self).__name__)

    def values(self) -> list[list[Any]]:
        """The fields as [name, value] pairs in order of declaration, as they stand in the receipt."""
        return [[name, getattr(self, name)] for name in self.field_names]

    @classmethod
    def message(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


def bind_rejection(contract: str, rejection: type[Rejected]) -> None:
    """Give ``rejection`` its code in ``contract``; a class belongs to one contract."""
    code = f"{contract}.{snake_case(rejection.__name__)}"
    if rejection.code not in ("", code):
        raise bad_declaration(
            rejection.__name__,
            f"is already a refusal of {rejection.code.partition('.')[0]}",
            "declare one class for each contract",
        )
    rejection.code = code


def require(condition: bool, rejection: type[Rejected], **fields: Any) -> None:
    """Refuse the command with ``rejection(**fields)`` unless ``condition`` holds."""
    if not condition:
        raise rejection(**fields)
