"""XML taken safely, and one table for both directions: element names to fields of a record, and back.

Safety. A document has a greatest size; its encoding is decoded here, strictly; a document type declaration is
refused before a parser sees it, so that there are no entities to expand and nothing to fetch; the parser itself
may neither load a declaration nor use the network, and keeps its own limits of depth and of text (no "huge
trees").

Tables. A `Shape` says how one record stands in XML: each child's name with the field it goes to and the codec that
reads and writes it. The order of a table is the order of the standard's schema, so the same table writes. Names of
older versions are read (`old`) and never written. What a document has and the table does not know is not carried:
the reading collects the paths of such elements, and the reader of a message can see what was left behind.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
from lxml import etree

from guildbook.primitives.errors import GuildbookError
from guildbook.standards.amounts import Amount, read_amount
from guildbook.standards.place import BAD_VALUE, FORBIDDEN, MALFORMED, MISSING, TOO_LARGE, refuse, shown
from guildbook.standards.times import When, read_date, read_date_time

DOCUMENT_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest XML document that is read."""

TEXT_CHARACTERS_MAX: Final = 20_000
"""The longest text of one element (ISO 20022: Max20000Text)."""

NOT_CARRIED_MAX: Final = 200
"""How many different paths a reading remembers as not carried."""

DEPTH_MAX: Final = 256
"""How deep elements may stand in one another: the parser's own limit, which is not lifted."""

ENCODINGS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "iso-8859-15": "iso-8859-15",
    "windows-1252": "windows-1252",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
}
"""The encodings that a declaration may name, and their decoders."""

XML_PREFIX: Final = "{http://www.w3.org/XML/1998/namespace}"
"""The namespace of `xml:lang`, as the parser spells it."""

_DECLARED = re.compile(r"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

T = TypeVar("T")


def decoded(data: bytes, *, file: str = "") -> str:
    """The characters of an XML document, by its byte order mark or declaration (else UTF-8).

    Raises GuildbookError `standards.too_large` above `DOCUMENT_SIZE_BYTES_MAX`, and `standards.malformed` for an
    encoding that is not in `ENCODINGS` or bytes that are none of it.
    """
    if len(data) > DOCUMENT_SIZE_BYTES_MAX:
        raise refuse(
            TOO_LARGE,
            f"the document has {len(data)} bytes, and {DOCUMENT_SIZE_BYTES_MAX} are read",
            file=file,
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif data.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    else:
        wide = {b"<\0?\0": "utf-16-le", b"\0<\0?": "utf-16-be"}.get(data[:4])
        declared = _DECLARED.match(data[:400].decode(wide or "latin-1", "replace"))
        named = declared[1].lower() if declared else "utf-8"
        known = ENCODINGS.get(named)
        if known is None or (known.startswith("utf-16") and wide is None):
            raise refuse(
                MALFORMED,
                f"the encoding {shown(named)} is not read",
                file=file,
                line=1,
                hint="send the document in UTF-8",
            )
        encoding = wide or known
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse(
            MALFORMED,
            f"byte {error.start} is not {encoding}",
            file=file,
            line=line,
            hint="send the document in UTF-8",
        ) from None
    if "\0" in text:
        raise refuse(MALFORMED, "a character 0 is in the document", file=file)
    return text


def _refuse_declared_type(text: str, file: str) -> None:
    """Walk over what may stand before the first element; a document type declaration there is refused."""
    at = 0
    while True:
        at = len(text) - len(text[at:].lstrip()) if text[at : at + 1].isspace() else at
        if text.startswith("<?", at):
            end = text.find("?>", at)
        elif text.startswith("<!--", at):
            end = text.find("-->", at)
        else:
            break
        if end < 0:
            return  # never closed: the parser says so, with its place
        at = text.index(">", end) + 1
    if text.startswith("<!", at):
        raise refuse(
            FORBIDDEN,
            "a document type declaration is not read",
            file=file,
            line=text.count("\n", 0, at) + 1,
            hint="send the document without <!DOCTYPE ...> and without entities of its own",
        )


def parsed(
    data: bytes,
    *,
    file: str = "",
    each: Iterable[str] = (),
    take: Callable[[etree._Element], None] | None = None,
) -> etree._Element:
    """The root element of an XML document; every element whose local name is in `each` is shown to `take` at its end.

    Raises GuildbookError `standards.malformed`, `standards.forbidden` or `standards.too_large`, with the line.
    """
    text = decoded(data, file=file).removeprefix("\ufeff")
    _refuse_declared_type(text, file)
    events = etree.iterparse(
        io.BytesIO(text.encode("utf-8")),
        events=("end",),
        tag=[f"{{*}}{name}" for name in each] or ["{guildbook}none"],
        load_dtd=False,
        no_network=True,
        resolve_entities=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
    )
    try:
        for _, element in events:
            if take is not None:
                take(element)
    except etree.XMLSyntaxError as error:
        line, _ = error.position
        raise refuse(
            MALFORMED,
            f"the document is not well-formed XML: {_first_line(error.msg)}",
            file=file,
            line=line or 1,
        ) from None
    root = events.root
    if root is None:
        raise refuse(MALFORMED, "the document has no element", file=file, line=1)
    return root


def _first_line(message: str | None) -> str:
    return (message or "unknown reason").partition("\n")[0][:200]


def local_name(element: etree._Element) -> str:
    """The element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def namespace(element: etree._Element) -> str:
    """The element's namespace, or an empty text."""
    inside, _, _ = str(element.tag).rpartition("}")
    return inside.removeprefix("{")


def path_of(element: etree._Element) -> str:
    """The element's place: the local names from the root to it."""
    names = []
    step: etree._Element | None = element
    while step is not None:
        names.append(local_name(step))
        step = step.getparent()
    return "/" + "/".join(reversed(names))


class Reading:
    """One reading of one message: its file name, its namespace and version, and what it did not carry.

    `version` is the last number of the message's name (camt.053.001.08: 8).
    """

    def __init__(self, file: str, uri: str, version: int) -> None:
        self.file = file
        self.version = version
        self._prefix = f"{{{uri}}}" if uri else ""
        self._names: dict[str, str] = {}
        self._not_carried: dict[str, None] = {}

    def name(self, element: etree._Element) -> str:
        """The local name of an element of this message's namespace; an empty text for any other."""
        tag = cast(
            str, element.tag
        )  # comments and instructions, whose tag is none, are not kept by the parser
        known = self._names.get(tag)
        if known is None:
            known = tag[len(self._prefix) :] if tag.startswith(self._prefix) else ""
            self._names[tag] = known
        return known

    def leave(self, element: etree._Element) -> None:
        """Remember that an element is not carried into a record."""
        if len(self._not_carried) < NOT_CARRIED_MAX:
            self._not_carried[path_of(element)] = None

    @property
    def not_carried(self) -> tuple[str, ...]:
        """The paths of elements that no field took, in their order."""
        return tuple(sorted(self._not_carried))

    def refuse(self, element: etree._Element, code: str, reason: str, *, inside: str = "") -> GuildbookError:
        """The error that refuses an element at its place."""
        path = path_of(element) + (f"/{inside}" if inside else "")
        return refuse(code, reason, file=self.file, line=element.sourceline or 0, path=path)


class Writing:
    """Lines of XML, two spaces deeper for each element: always the same bytes for the same calls."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 0

    def leaf(self, name: str, text: str, attributes: str = "") -> None:
        """An element with text. Raises `ValueError` for text that XML cannot carry or that reading would change."""
        self._lines.append(f"{'  ' * self._depth}<{name}{attributes}>{_escaped(name, text)}</{name}>")

    def inside(self, name: str, attributes: str, fill: Callable[[], None]) -> None:
        """An element around what `fill` writes; nothing at all if that is nothing."""
        self._lines.append(f"{'  ' * self._depth}<{name}{attributes}>")
        mark = len(self._lines)
        self._depth += 1
        fill()
        self._depth -= 1
        if len(self._lines) == mark:
            self._lines.pop()
            if attributes:
                self._lines.append(f"{'  ' * self._depth}<{name}{attributes}/>")
        else:
            self._lines.append(f"{'  ' * self._depth}</{name}>")

    @property
    def lines(self) -> int:
        """How many lines are written."""
        return len(self._lines)

    def document(self) -> bytes:
        """The document in UTF-8, with its declaration."""
        return ('<?xml version="1.0" encoding="UTF-8"?>\n' + "\n".join(self._lines) + "\n").encode()


def _escaped(name: str, text: str) -> str:
    if not text or text != text.strip():
        raise ValueError(f"{name} is empty, or begins or ends with a space")
    if _NOT_XML.search(text) is not None:
        raise ValueError(f"{name} has a character that XML does not carry")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


class Codec(Generic[T]):
    """Reads one element to a value (`None`: it says nothing) and writes a value as one element."""

    def read(self, element: etree._Element, reading: Reading) -> T | None:
        """The value of `element`; raises GuildbookError with its place."""
        raise NotImplementedError

    def write(self, name: str, value: T, writing: Writing) -> None:
        """`value` as an element `name`; raises `ValueError` with the reason for what the standard does not allow."""
        raise NotImplementedError


class Leaf(Codec[T]):
    """An element with text alone. `parse` and `check` raise `ValueError` with the reason.

    Reading takes what is understood; writing is strict, so `check` holds the standard's limits.
    """

    def __init__(
        self,
        parse: Callable[[str], T],
        format: Callable[[T], str] = str,  # noqa: A002 - the name of what it does
        check: Callable[[str], None] | None = None,
    ) -> None:
        self._parse, self._format, self._check = parse, format, check

    def read(self, element: etree._Element, reading: Reading) -> T | None:
        """The value of the text without the spaces around it; an empty element says nothing."""
        return self.read_text(leaf_text(element, reading), element, reading)

    def read_text(
        self, text: str, element: etree._Element, reading: Reading, *, inside: str = ""
    ) -> T | None:
        """The value of a text that stands at `element`, or in the attribute of it that `inside` names."""
        if not text:
            return None
        try:
            return self._parse(text)
        except ValueError as error:
            raise reading.refuse(element, BAD_VALUE, f"{shown(text)} {error}", inside=inside) from None

    def write(self, name: str, value: T, writing: Writing) -> None:
        """The value's text as an element."""
        writing.leaf(name, self.text(name, value))

    def text(self, name: str, value: T) -> str:
        """The value's text; raises `ValueError` with the reason for what the standard does not allow."""
        text = self._format(value)
        if self._check is not None:
            try:
                self._check(text)
            except ValueError as error:
                raise ValueError(f"{name} {shown(text)} {error}") from None
        return text


def leaf_text(element: etree._Element, reading: Reading) -> str:
    """The text of an element without children, without the spaces around it."""
    if len(element):
        raise reading.refuse(element, BAD_VALUE, "has elements where text belongs")
    text = (element.text or "").strip()
    if len(text) > TEXT_CHARACTERS_MAX:
        raise reading.refuse(
            element, TOO_LARGE, f"has {len(text)} characters, and {TEXT_CHARACTERS_MAX} are read"
        )
    return text


class AmountLeaf(Codec[Amount]):
    """An amount with its currency in the attribute `Ccy`."""

    def read(self, element: etree._Element, reading: Reading) -> Amount | None:
        """The exact amount; more decimals than the currency has are refused unless they are zeros."""
        text, currency = leaf_text(element, reading), element.get("Ccy")
        if currency is None:
            raise reading.refuse(element, MISSING, "the attribute is missing", inside="@Ccy")
        try:
            return read_amount(text, currency)
        except ValueError as error:
            raise reading.refuse(element, BAD_VALUE, f"{shown(text)} {error}") from None

    def write(self, name: str, value: Amount, writing: Writing) -> None:
        """The amount by its own text, which must say its minor units."""
        if read_amount(value.text, value.currency).minor != value.minor:
            raise ValueError(f"{name} has the text {shown(value.text)} and {value.minor} minor units")
        writing.leaf(name, value.text, f' Ccy="{value.currency}"')


class WhenChoice(Codec[When]):
    """`Dt` or `DtTm` inside the element; older versions have the date as its text."""

    def read(self, element: etree._Element, reading: Reading) -> When | None:
        """The date, or the date with its time."""
        if not len(element):
            return DATE.read(element, reading)
        found: When | None = None
        for child in element:
            name = reading.name(child)
            if name not in ("Dt", "DtTm") or found is not None:
                raise reading.refuse(child, BAD_VALUE, "one of Dt and DtTm belongs here")
            found = (DATE if name == "Dt" else DATE_TIME).read(child, reading)
        return found

    def write(self, name: str, value: When, writing: Writing) -> None:
        """`DtTm` where a time was given, else `Dt`."""
        writing.inside(
            name,
            "",
            lambda: (DATE_TIME if value.has_time else DATE).write(
                "DtTm" if value.has_time else "Dt", value, writing
            ),
        )


class CodeChoice(Codec[str]):
    """A code as text, or inside `Cd` or `Prtry`: one text for all three. Written as `Cd`."""

    def read(self, element: etree._Element, reading: Reading) -> str | None:
        """The code; which of the three forms it had is not carried."""
        if not len(element):
            return leaf_text(element, reading) or None
        found = ""
        for child in element:
            if reading.name(child) not in ("Cd", "Prtry") or found:
                raise reading.refuse(child, BAD_VALUE, "one of Cd and Prtry belongs here")
            found = leaf_text(child, reading)
        return found or None

    def write(self, name: str, value: str, writing: Writing) -> None:
        """The code inside `Cd`."""
        writing.inside(name, "", lambda: writing.leaf("Cd", value))


def limited(characters_max: int) -> Leaf[str]:
    """Text that may be written with 1 to `characters_max` characters."""

    def check(text: str) -> None:
        if len(text) > characters_max:
            raise ValueError(f"is longer than {characters_max} characters")

    return Leaf(str, str, check)


def patterned(pattern: str, meaning: str) -> Leaf[str]:
    """Text that may be written where it matches `pattern` in whole; `meaning` completes "is not ..."."""
    compiled = re.compile(rf"(?:{pattern})\Z")

    def check(text: str) -> None:
        if compiled.match(text) is None:
            raise ValueError(f"is not {meaning}")

    return Leaf(str, str, check)


def _check(parse: Callable[[str], object], text: str) -> None:
    parse(text)


def _boolean(text: str) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise ValueError("is neither true nor false")
    return text in ("true", "1")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise ValueError("is no number of at most 15 digits")
    return int(text)


def _decimal(text: str) -> str:
    if re.match(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,17})?|\.[0-9]{1,17})\Z", text) is None:
        raise ValueError("is no decimal number")
    return text


DATE: Final[Leaf[When]] = Leaf(read_date, lambda when: when.text, lambda text: _check(read_date, text))
DATE_TIME: Final[Leaf[When]] = Leaf(
    read_date_time, lambda when: when.text, lambda text: _check(read_date_time, text)
)
WHEN: Final = WhenChoice()
CODE: Final = CodeChoice()
MONEY: Final = AmountLeaf()
BOOLEAN: Final = Leaf(_boolean, lambda value: "true" if value else "false")
COUNT: Final = Leaf(_count)
DECIMAL: Final = Leaf(_decimal)


class Part(msgspec.Struct, frozen=True):
    """A child element: the field it goes to, its codec, whether it repeats, is written, and must not be left out.

    `must` binds writing alone: the version that is written has the element always, older ones or real senders do not.
    """

    field: str
    codec: Any  # Codec of the field's own type; the record's constructor is where the types meet
    many: bool = False
    written: bool = True
    must: bool = False


class Table(dict[str, "Part | Group"]):
    """The parts of an element by name: children, attributes (`@code`), and its own text (`#text`)."""

    def __init__(self, parts: Mapping[str, Part | Group]) -> None:
        super().__init__(parts)
        self.attributes = tuple((name[1:], part) for name, part in parts.items() if name[0] == "@")
        self.own_text = parts.get("#text")


class Group(msgspec.Struct, frozen=True):
    """An element without a record of its own: its children go to fields of the record around it."""

    parts: Table
    written: bool = True
    must: bool = False


def one(field: str, codec: Codec[Any], *, must: bool = False) -> Part:
    """A child that occurs once at most."""
    return Part(field, codec, must=must)


def many(field: str, codec: Codec[Any], *, must: bool = False) -> Part:
    """A child that may repeat; the field is a tuple."""
    return Part(field, codec, many=True, must=must)


def old(part: Part | Group) -> Part | Group:
    """The same child, of older or other versions: read, never written."""
    if isinstance(part, Part):
        return Part(part.field, part.codec, part.many, written=False)
    return Group(part.parts, written=False)


def group(parts: Mapping[str, Part | Group], *, must: bool = False) -> Group:
    """A child whose own children go to fields of the record around it."""
    return Group(Table(parts), must=must)


R = TypeVar("R", bound=msgspec.Struct)


class Shape(Codec[R]):
    """How a record stands in XML. A field without a default must occur."""

    def __init__(
        self, record: type[R], parts: Mapping[str, Part | Group], *, needed: Iterable[str] = ()
    ) -> None:
        self.record = record
        self.parts = Table(parts)
        fields = msgspec.structs.fields(record)
        self._required = {field.name for field in fields if field.required} | set(needed)
        placed = list(_fields(parts, ""))
        self._many = {part.field for _, part in placed if part.many}
        self._place = {part.field: path for path, part in reversed(placed)}
        unknown = {part.field for _, part in placed} - {field.name for field in fields}
        assert not unknown, f"{record.__name__} has no {sorted(unknown)}"
        assert self._required <= self._place.keys(), f"{record.__name__}: nothing fills a required field"

    def read(self, element: etree._Element, reading: Reading) -> R | None:
        """The record of `element`; raises GuildbookError `standards.missing` where a required child is absent."""
        return self.finish(element, self.collect(element, reading), reading)

    def collect(self, element: etree._Element, reading: Reading) -> dict[str, Any]:
        """The fields that the children of `element` fill; repeated ones as lists."""
        found: dict[str, Any] = {}
        _collect(element, self.parts, found, reading)
        return found

    def finish(self, element: etree._Element, found: dict[str, Any], reading: Reading) -> R | None:
        """The record of collected fields; nothing where there are none and none is needed."""
        if not found and not self._required:
            return None
        for field in self._many:
            if field in found:
                found[field] = tuple(found[field])
        if not self._required <= found.keys():
            first = min(self._place[field] for field in self._required - found.keys())
            raise reading.refuse(element, MISSING, "the element is missing or empty", inside=first)
        return self.record(**found)

    def write(self, name: str, value: R, writing: Writing, attributes: str = "") -> None:
        """The record as an element `name`, its children in the order of the table."""
        _write_element(name, attributes, self.parts, value, writing)


def _fields(parts: Mapping[str, Part | Group], path: str) -> Iterator[tuple[str, Part]]:
    for name, part in parts.items():
        if isinstance(part, Part):
            yield path + name, part
        else:
            yield from _fields(part.parts, f"{path}{name}/")


def _collect(element: etree._Element, parts: Table, found: dict[str, Any], reading: Reading) -> None:
    for name, attribute in parts.attributes:
        assert isinstance(attribute, Part)
        text = (element.get(name) or "").strip()
        value = attribute.codec.read_text(text, element, reading, inside=f"@{name}")
        if value is not None:
            _once(attribute, value, found, element, reading)
    if parts.own_text is not None:
        assert isinstance(parts.own_text, Part)
        value = parts.own_text.codec.read(element, reading)
        if value is not None:
            _once(parts.own_text, value, found, element, reading)
        return
    for child in element:
        part = parts.get(reading.name(child))
        if part is None:
            reading.leave(child)
        elif isinstance(part, Group):
            _collect(child, part.parts, found, reading)
        else:
            value = part.codec.read(child, reading)
            if value is None:
                continue
            if part.many:
                found.setdefault(part.field, []).append(value)
            else:
                _once(part, value, found, child, reading)


def _once(part: Part, value: Any, found: dict[str, Any], element: etree._Element, reading: Reading) -> None:
    if part.field in found:
        raise reading.refuse(element, BAD_VALUE, "occurs a second time, or beside its alternative")
    found[part.field] = value


def _write_element(name: str, attributes: str, parts: Table, value: msgspec.Struct, writing: Writing) -> None:
    """An element with its attributes, and its own text or its children."""
    for attribute, part in parts.attributes:
        assert isinstance(part, Part)
        held = getattr(value, part.field)
        if held is not None:
            text = _escaped(attribute, part.codec.text(attribute, held)).replace('"', "&quot;")
            text = text.replace("\t", "&#9;").replace("\n", "&#10;")
            attributes += f' {attribute.replace(XML_PREFIX, "xml:")}="{text}"'
        elif part.must:
            raise ValueError(f"@{attribute} is missing: {type(value).__name__}.{part.field}")
    if parts.own_text is None:
        writing.inside(name, attributes, lambda: _write(parts, value, writing))
        return
    assert isinstance(parts.own_text, Part)
    held = getattr(value, parts.own_text.field)
    if held is not None:
        writing.leaf(name, parts.own_text.codec.text(name, held), attributes)
    elif attributes:
        writing.inside(name, attributes, lambda: None)


def _write(parts: Table, value: msgspec.Struct, writing: Writing) -> None:
    for name, part in parts.items():
        if not part.written or name[0] in "@#":
            continue
        if isinstance(part, Group):
            before = writing.lines
            _write_element(name, "", part.parts, value, writing)
            if part.must and writing.lines == before:
                raise ValueError(f"{name} is missing in {type(value).__name__}")
            continue
        held = getattr(value, part.field)
        before = writing.lines
        if part.many:
            for item in held:
                part.codec.write(name, item, writing)
        elif held is not None:
            part.codec.write(name, held, writing)
        if part.must and writing.lines == before:
            raise ValueError(f"{name} is missing: {type(value).__name__}.{part.field}")


class _Brought(etree.Resolver):
    """Gives a schema the files that it includes, from what the caller brought; nothing is fetched."""

    def __init__(self, parts: Mapping[str, bytes]) -> None:
        self._parts = parts

    def resolve(self, system_url: str | None, public_id: str | None, context: Any) -> Any:  # noqa: ARG002
        """The file of that name; an empty one, which no schema can use, if it was not brought."""
        name = (system_url or "").rpartition("/")[2]
        return self.resolve_string(self._parts.get(name, b"<missing/>"), context)


def validation_findings(
    data: bytes, schema: bytes, *, file: str = "", parts: Mapping[str, bytes] | None = None
) -> tuple[GuildbookError, ...]:
    """What an XML Schema says against a document: one error for each finding, with line and path; empty if valid.

    The caller brings the schema, and in `parts` by file name what it includes. Raises GuildbookError
    `standards.malformed` for a schema that cannot be used.
    """
    _refuse_declared_type(decoded(schema, file="schema"), "schema")
    parser = etree.XMLParser(load_dtd=False, no_network=True, resolve_entities=False, huge_tree=False)
    parser.resolvers.add(_Brought(parts or {}))
    try:
        compiled = etree.XMLSchema(etree.fromstring(schema, parser))
    except etree.XMLSyntaxError as error:
        raise refuse(MALFORMED, f"the schema is not XML: {_first_line(error.msg)}", file="schema") from None
    except etree.XMLSchemaParseError as error:
        raise refuse(
            MALFORMED, f"the schema cannot be used: {_first_line(str(error))}", file="schema"
        ) from None
    root = parsed(data, file=file)
    if compiled.validate(root):
        return ()
    return tuple(
        refuse(BAD_VALUE, _first_line(entry.message), file=file, line=entry.line, path=entry.path or "")
        for entry in compiled.error_log
    )
