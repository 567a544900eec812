"""What messages share: parties, agents, accounts, addresses, remittance, reasons; each a record and its shape.

A field that a message did not have is `None`, or an empty tuple. The fields' names are those of the standard spelt
out (EndToEndId: `end_to_end_id`); the page on ISO 20022 lists each with its element.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from lxml import etree

from guildbook.standards.amounts import Amount
from guildbook.standards.iso20022 import limits
from guildbook.standards.place import BAD_VALUE
from guildbook.standards.times import When
from guildbook.standards.xml import (
    CODE,
    DATE,
    DATE_TIME,
    MONEY,
    WHEN,
    Codec,
    Leaf,
    Reading,
    Shape,
    Writing,
    group,
    leaf_text,
    limited,
    many,
    old,
    one,
    patterned,
)

TEXT4: Final = limited(4)
TEXT16: Final = limited(16)
TEXT34: Final = limited(34)
TEXT35: Final = limited(35)
TEXT70: Final = limited(70)
TEXT105: Final = limited(105)
TEXT140: Final = limited(140)
TEXT500: Final = limited(500)
TEXT2048: Final = limited(2048)
CODE4: Final = patterned("[A-Za-z0-9]{1,4}", "a code of 1 to 4 characters")
COUNTRY: Final = patterned("[A-Z]{2}", "a country's two capital letters")
CURRENCY: Final = patterned("[A-Z]{3}", "a currency's three capital letters")
BIC: Final = patterned(limits.BIC_PATTERN, "a BIC of 8 or 11 characters")
LEI: Final = patterned("[A-Z0-9]{18}[0-9]{2}", "an LEI of 20 characters")
UETR: Final = patterned(limits.UETR_PATTERN, "a UUID of version 4 in lower case")
IBAN: Final[Leaf[str]] = Leaf(str, str, limits.check_iban)


class OtherId(msgspec.Struct, frozen=True):
    """An identification by a scheme; of old versions, `scheme` is the name of the element that held it (BEI, DUNS)."""

    id: str
    scheme: str | None = None
    scheme_proprietary: str | None = None
    issuer: str | None = None


class Address(msgspec.Struct, frozen=True):
    """A postal address, in parts, in lines, or both."""

    type: str | None = None
    department: str | None = None
    sub_department: str | None = None
    street: str | None = None
    building_number: str | None = None
    building_name: str | None = None
    floor: str | None = None
    post_box: str | None = None
    room: str | None = None
    post_code: str | None = None
    town: str | None = None
    town_location: str | None = None
    district: str | None = None
    country_subdivision: str | None = None
    country: str | None = None
    lines: tuple[str, ...] = ()


class Agent(msgspec.Struct, frozen=True):
    """A bank or another financial institution, and a branch of it."""

    bic: str | None = None
    clearing_system: str | None = None
    clearing_system_proprietary: str | None = None
    member_id: str | None = None
    lei: str | None = None
    name: str | None = None
    address: Address | None = None
    other: OtherId | None = None
    branch_id: str | None = None
    branch_name: str | None = None


class Party(msgspec.Struct, frozen=True):
    """A person or an organisation; where a bank stands in its place, `agent` alone is set."""

    name: str | None = None
    address: Address | None = None
    bic: str | None = None
    lei: str | None = None
    organisation_ids: tuple[OtherId, ...] = ()
    birth_date: When | None = None
    birth_province: str | None = None
    birth_city: str | None = None
    birth_country: str | None = None
    private_ids: tuple[OtherId, ...] = ()
    country_of_residence: str | None = None
    contact_name: str | None = None
    phone: str | None = None
    mobile: str | None = None
    email: str | None = None
    agent: Agent | None = None


class Account(msgspec.Struct, frozen=True):
    """An account: an IBAN, or another number with its scheme."""

    iban: str | None = None
    other: OtherId | None = None
    type: str | None = None
    currency: str | None = None
    name: str | None = None
    owner: Party | None = None
    servicer: Agent | None = None

    @property
    def number(self) -> str:
        """The IBAN or the other number; empty where there is neither."""
        return self.iban or (self.other.id if self.other else "")


class ReferredDocument(msgspec.Struct, frozen=True):
    """A document, an invoice say, that a payment is for."""

    type: str | None = None
    type_issuer: str | None = None
    number: str | None = None
    date: When | None = None


class StructuredRemittance(msgspec.Struct, frozen=True):
    """What a payment is for, in parts: documents, amounts, and the creditor's reference."""

    documents: tuple[ReferredDocument, ...] = ()
    due: Amount | None = None
    credit_note: Amount | None = None
    remitted: Amount | None = None
    reference_code: str | None = None
    reference_proprietary: str | None = None
    reference_issuer: str | None = None
    reference: str | None = None
    invoicer: Party | None = None
    invoicee: Party | None = None
    additional: tuple[str, ...] = ()


class Remittance(msgspec.Struct, frozen=True):
    """What a payment is for: lines of text, structured blocks, or both."""

    unstructured: tuple[str, ...] = ()
    structured: tuple[StructuredRemittance, ...] = ()


class Reason(msgspec.Struct, frozen=True):
    """Why something was refused, returned or recalled: a code (see `codes`), and what was added to it."""

    originator: Party | None = None
    code: str | None = None
    proprietary: str | None = None
    additional: tuple[str, ...] = ()


class PaymentType(msgspec.Struct, frozen=True):
    """How a payment is to be treated: priority, service levels, local instrument, purpose category."""

    priority: str | None = None
    clearing_channel: str | None = None
    service_levels: tuple[str, ...] = ()
    local_instrument: str | None = None
    local_instrument_proprietary: str | None = None
    sequence: str | None = None
    category_purpose: str | None = None
    category_purpose_proprietary: str | None = None


class Charge(msgspec.Struct, frozen=True):
    """A charge that an agent took in an interbank message."""

    amount: Amount
    agent: Agent | None = None


class Settlement(msgspec.Struct, frozen=True):
    """How banks settle a message: INDA, INGA, COVE or CLRG, and by which system."""

    method: str
    clearing_system: str | None = None
    account: Account | None = None


class OriginalGroup(msgspec.Struct, frozen=True):
    """The message that an answer is about."""

    message_id: str
    message_name: str
    created: When | None = None


class OriginalTransaction(msgspec.Struct, frozen=True):
    """What an answer repeats of the payment it is about; it need not repeat anything."""

    interbank_amount: Amount | None = None
    amount: Amount | None = None
    interbank_date: When | None = None
    execution_date: When | None = None
    remittance: Remittance | None = None
    debtor: Party | None = None
    debtor_account: Account | None = None
    debtor_agent: Agent | None = None
    creditor_agent: Agent | None = None
    creditor: Party | None = None
    creditor_account: Account | None = None


class Either(Codec[Any]):
    """A party where the newer versions ask which kind: `Pty` or `Agt` inside; older ones have the party itself."""

    def __init__(self, wrapper: str, party: Shape[Party], agent_wrapper: str, agent: Shape[Agent]) -> None:
        self._names = (wrapper, agent_wrapper)
        self.party, self.agent = party, agent

    def read(self, element: etree._Element, reading: Reading) -> Party | None:
        """The party; a bank in its place is the party's `agent`."""
        found: Party | None = None
        party_name, agent_name = self._names
        if not any(reading.name(child) in self._names for child in element):
            return self.party.read(element, reading) if len(element) else None
        for child in element:
            name = reading.name(child)
            if found is not None or name not in self._names:
                raise reading.refuse(child, BAD_VALUE, f"one of {party_name} and {agent_name} belongs here")
            if name == party_name:
                found = self.party.read(child, reading)
            else:
                found = Party(agent=self.agent.read(child, reading))
        return found

    def write(self, name: str, value: Party, writing: Writing) -> None:
        """The party inside its wrapper."""

        def fill() -> None:
            if value.agent is not None:
                self.agent.write(self._names[1], value.agent, writing)
            else:
                self.party.write(self._names[0], value, writing)

        writing.inside(name, "", fill)


class AgentAsParty(Codec[Party]):
    """A bank where a message between banks has a party: the party's `agent`."""

    def __init__(self, agent: Shape[Agent]) -> None:
        self.agent = agent

    def read(self, element: etree._Element, reading: Reading) -> Party | None:
        """A party that is this bank."""
        agent = self.agent.read(element, reading)
        return None if agent is None else Party(agent=agent)

    def write(self, name: str, value: Party, writing: Writing) -> None:
        """The bank alone; raises `ValueError` for a party that is none."""
        if value.agent is None:
            raise ValueError(f"{name} is a bank in this message")
        self.agent.write(name, value.agent, writing)


class Named(Codec[OtherId]):
    """An identification of an old version, whose scheme is the element's name."""

    def read(self, element: etree._Element, reading: Reading) -> OtherId | None:
        """The text under the scheme that the element is named after."""
        text = leaf_text(element, reading)
        return OtherId(text, scheme=reading.name(element)) if text else None


OTHER_ID: Final = Shape(
    OtherId,
    {
        "Id": one("id", TEXT35),
        "SchmeNm": group({"Cd": one("scheme", CODE4), "Prtry": one("scheme_proprietary", TEXT35)}),
        "Issr": one("issuer", TEXT35),
    },
)
ADDRESS: Final = Shape(
    Address,
    {
        "AdrTp": one("type", CODE),
        "Dept": one("department", TEXT70),
        "SubDept": one("sub_department", TEXT70),
        "StrtNm": one("street", TEXT70),
        "BldgNb": one("building_number", TEXT16),
        "BldgNm": one("building_name", TEXT35),
        "Flr": one("floor", TEXT70),
        "PstBx": one("post_box", TEXT16),
        "Room": one("room", TEXT70),
        "PstCd": one("post_code", TEXT16),
        "TwnNm": one("town", TEXT35),
        "TwnLctnNm": one("town_location", TEXT35),
        "DstrctNm": one("district", TEXT35),
        "CtrySubDvsn": one("country_subdivision", TEXT35),
        "Ctry": one("country", COUNTRY),
        "AdrLine": many("lines", TEXT70),
    },
)
_CLEARING: Final = group(
    {
        "ClrSysId": group(
            {"Cd": one("clearing_system", limited(5)), "Prtry": one("clearing_system_proprietary", TEXT35)}
        ),
        "MmbId": one("member_id", TEXT35),
    }
)
AGENT: Final = Shape(
    Agent,
    {
        "FinInstnId": group(
            {
                "BICFI": one("bic", BIC),
                "BIC": old(one("bic", BIC)),
                "ClrSysMmbId": _CLEARING,
                "LEI": one("lei", LEI),
                "Nm": one("name", TEXT140),
                "PstlAdr": one("address", ADDRESS),
                "Othr": one("other", OTHER_ID),
                "NmAndAdr": old(group({"Nm": one("name", TEXT140), "PstlAdr": one("address", ADDRESS)})),
                "PrtryId": old(one("other", OTHER_ID)),
                "CmbndId": old(
                    group(
                        {
                            "BIC": one("bic", BIC),
                            "Nm": one("name", TEXT140),
                            "PstlAdr": one("address", ADDRESS),
                        }
                    )
                ),
            }
        ),
        "BrnchId": group({"Id": one("branch_id", TEXT35), "Nm": one("branch_name", TEXT140)}),
    },
)
PARTY: Final = Shape(
    Party,
    {
        "Nm": one("name", TEXT140),
        "PstlAdr": one("address", ADDRESS),
        "Id": group(
            {
                "OrgId": group(
                    {
                        "AnyBIC": one("bic", BIC),
                        "BICOrBEI": old(one("bic", BIC)),
                        "BIC": old(one("bic", BIC)),
                        "LEI": one("lei", LEI),
                        "Othr": many("organisation_ids", OTHER_ID),
                        "PrtryId": old(many("organisation_ids", OTHER_ID)),
                        **{
                            name: old(many("organisation_ids", Named()))
                            for name in ("IBEI", "BEI", "EANGLN", "USCHU", "DUNS", "BkPtyId", "TaxIdNb")
                        },
                    }
                ),
                "PrvtId": group(
                    {
                        "DtAndPlcOfBirth": group(
                            {
                                "BirthDt": one("birth_date", DATE),
                                "PrvcOfBirth": one("birth_province", TEXT35),
                                "CityOfBirth": one("birth_city", TEXT35),
                                "CtryOfBirth": one("birth_country", COUNTRY),
                            }
                        ),
                        "Othr": many("private_ids", OTHER_ID),
                        "OthrId": old(many("private_ids", OTHER_ID)),
                    }
                ),
            }
        ),
        "CtryOfRes": one("country_of_residence", COUNTRY),
        "CtctDtls": group(
            {
                "Nm": one("contact_name", TEXT140),
                "PhneNb": one("phone", TEXT35),
                "MobNb": one("mobile", TEXT35),
                "EmailAdr": one("email", TEXT2048),
            }
        ),
    },
)
AGENT_AS_PARTY: Final = AgentAsParty(AGENT)
PARTY_OR_AGENT: Final = Either("Pty", PARTY, "Agt", AGENT)
SENDER: Final = Either("OrgId", PARTY, "FIId", AGENT)
_ACCOUNT_ID: Final = Shape(
    OtherId,
    {
        "Id": one("id", TEXT34),
        "SchmeNm": group({"Cd": one("scheme", CODE4), "Prtry": one("scheme_proprietary", TEXT35)}),
        "Issr": one("issuer", TEXT35),
    },
)
ACCOUNT: Final = Shape(
    Account,
    {
        "Id": group(
            {
                "IBAN": one("iban", IBAN),
                "Othr": one("other", _ACCOUNT_ID),
                "PrtryAcct": old(one("other", _ACCOUNT_ID)),
                "BBAN": old(one("other", Named())),
                "UPIC": old(one("other", Named())),
            }
        ),
        "Tp": one("type", CODE),
        "Ccy": one("currency", CURRENCY),
        "Nm": one("name", TEXT70),
        "Ownr": one("owner", PARTY),
        "Svcr": one("servicer", AGENT),
    },
)
REFERRED_DOCUMENT: Final = Shape(
    ReferredDocument,
    {
        "Tp": group({"CdOrPrtry": one("type", CODE), "Issr": one("type_issuer", TEXT35)}),
        "RfrdDocTp": old(one("type", CODE)),
        "Nb": one("number", TEXT35),
        "RfrdDocNb": old(one("number", TEXT35)),
        "RltdDt": one("date", DATE),
    },
)
STRUCTURED: Final = Shape(
    StructuredRemittance,
    {
        "RfrdDocInf": many("documents", REFERRED_DOCUMENT),
        "RfrdDocAmt": group(
            {
                "DuePyblAmt": one("due", MONEY),
                "CdtNoteAmt": one("credit_note", MONEY),
                "RmtdAmt": one("remitted", MONEY),
            }
        ),
        "CdtrRefInf": group(
            {
                "Tp": group(
                    {
                        "CdOrPrtry": group(
                            {
                                "Cd": one("reference_code", CODE4),
                                "Prtry": one("reference_proprietary", TEXT35),
                            }
                        ),
                        "Issr": one("reference_issuer", TEXT35),
                    }
                ),
                "CdtrRefTp": old(
                    group(
                        {
                            "Cd": one("reference_code", CODE4),
                            "Prtry": one("reference_proprietary", TEXT35),
                            "Issr": one("reference_issuer", TEXT35),
                        }
                    )
                ),
                "Ref": one("reference", TEXT35),
                "CdtrRef": old(one("reference", TEXT35)),
            }
        ),
        "Invcr": one("invoicer", PARTY),
        "Invcee": one("invoicee", PARTY),
        "AddtlRmtInf": many("additional", TEXT140),
    },
)
REMITTANCE: Final = Shape(
    Remittance, {"Ustrd": many("unstructured", TEXT140), "Strd": many("structured", STRUCTURED)}
)
REASON: Final = Shape(
    Reason,
    {
        "Orgtr": one("originator", PARTY),
        "Rsn": group({"Cd": one("code", CODE4), "Prtry": one("proprietary", TEXT35)}),
        "AddtlInf": many("additional", TEXT105),
    },
)
PAYMENT_TYPE: Final = Shape(
    PaymentType,
    {
        "InstrPrty": one("priority", CODE4),
        "ClrChanl": one("clearing_channel", CODE4),
        "SvcLvl": many("service_levels", CODE),
        "LclInstrm": group(
            {"Cd": one("local_instrument", TEXT35), "Prtry": one("local_instrument_proprietary", TEXT35)}
        ),
        "SeqTp": one("sequence", CODE4),
        "CtgyPurp": group(
            {"Cd": one("category_purpose", CODE4), "Prtry": one("category_purpose_proprietary", TEXT35)}
        ),
    },
)
CHARGE: Final = Shape(
    Charge,
    {
        "Amt": one("amount", MONEY),
        "ChrgsAmt": old(one("amount", MONEY)),
        "Agt": one("agent", AGENT),
        "Pty": old(one("agent", AGENT)),
        "ChrgsPty": old(one("agent", AGENT)),
    },
)
SETTLEMENT: Final = Shape(
    Settlement,
    {
        "SttlmMtd": one("method", CODE4),
        "SttlmAcct": one("account", ACCOUNT),
        "ClrSys": one("clearing_system", CODE),
    },
)
ORIGINAL_GROUP: Final = Shape(
    OriginalGroup,
    {
        "OrgnlMsgId": one("message_id", TEXT35),
        "OrgnlMsgNmId": one("message_name", TEXT35),
        "OrgnlCreDtTm": one("created", DATE_TIME),
    },
)
ORIGINAL_TRANSACTION: Final = Shape(
    OriginalTransaction,
    {
        "IntrBkSttlmAmt": one("interbank_amount", MONEY),
        "Amt": group({"InstdAmt": one("amount", MONEY)}),
        "IntrBkSttlmDt": one("interbank_date", DATE),
        "ReqdExctnDt": one("execution_date", WHEN),
        "RmtInf": one("remittance", REMITTANCE),
        "Dbtr": one("debtor", PARTY_OR_AGENT),
        "DbtrAcct": one("debtor_account", ACCOUNT),
        "DbtrAgt": one("debtor_agent", AGENT),
        "CdtrAgt": one("creditor_agent", AGENT),
        "Cdtr": one("creditor", PARTY_OR_AGENT),
        "CdtrAcct": one("creditor_account", ACCOUNT),
    },
)
