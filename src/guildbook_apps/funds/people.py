"""A province that does not exist: its counties, who signs for them, households, contractors, and their payee book.

All of it follows from a seed. Names are put together from lists; accounts are numbers of a bank that there is not.
"""

import hashlib
import random
from typing import NamedTuple

from guildbook_apps.funds.adapter import Holder, PayeeBook

PROGRAMME = "roofs"
CURRENCY = "CNY"
AUTHORITY, BANK, WATCH, HOUSEHOLDS = "juniper-province", "lantern-bank", "court-of-accounts", "households"
BANK_NAME, BANK_BIC = "Lantern Bank (made up)", "LNTNXX22"
ROOT = f"{PROGRAMME}/juniper"
COUNTIES = {"heron": ("ash", "alder"), "marten": ("birch", "rowan"), "otter": ("linden", "hazel")}
"""County -> its townships. Each county has a project too: a bridge."""
PROJECT = "bridge"
HOUSEHOLDS_PER_TOWNSHIP = 4

GIVEN = ("Ada", "Bo", "Cleo", "Dara", "Edo", "Fia", "Gil", "Hana", "Ivo", "Juno", "Kei", "Lio", "Mina", "Noa", "Orla",
         "Pim", "Rua", "Suri", "Tove", "Uli", "Vana", "Wen", "Yael", "Zeno")
FAMILY = ("Applewick", "Bramblefield", "Cloudmoor", "Duskwater", "Emberlane", "Fernhollow", "Goosefeather", "Harrowbee",
          "Inkwell", "Jasperquill", "Kettlebrook", "Lanternby", "Mossgarden", "Nettlecomb", "Oatmeadow", "Pebblecott")
TRADES = ("Bridges", "Roofing", "Carpentry", "Masonry")


class Household(NamedTuple):
    """A household: its pseudonym, the township it lives in, and who confirms for it (None: a witness does)."""

    payee: str
    county: str
    township: str
    controller: str | None


class Contractor(NamedTuple):
    """A contractor of a county's project."""

    payee: str
    county: str


def signers() -> dict[str, list[str]]:
    """Everybody who signs, "organisation/party" -> permissions. None of these organisations exists."""
    cast = {
        f"{AUTHORITY}/administrator": ["funds:administrator", "approvals:policymaker"],
        f"{AUTHORITY}/secretary": ["approvals:policymaker"],
        f"{AUTHORITY}/treasurer": ["funds:treasurer"],
        f"{AUTHORITY}/treasurer-deputy": ["funds:treasurer"],
        f"{AUTHORITY}/budget-one": ["funds:budget"],
        f"{AUTHORITY}/budget-two": ["funds:budget"],
        f"{AUTHORITY}/reviewer": ["funds:reviewer"],
        f"{AUTHORITY}/approver": ["funds:approver"],
        f"{AUTHORITY}/releaser": ["funds:releaser"],
        f"{AUTHORITY}/resolver": ["funds:resolver"],
        f"{BANK}/feed": [],
        f"{WATCH}/supervisor": ["funds:supervisor"],
        f"{WATCH}/auditor-one": ["funds:auditor"],
        f"{WATCH}/auditor-two": ["funds:auditor"],
    }
    for county in COUNTIES:
        unit = unit_of(county)
        cast |= {
            f"{unit}/clerk-{county}": ["funds:clerk"],
            f"{unit}/treasurer-{county}": ["funds:treasurer"],
            f"{unit}/treasurer-deputy-{county}": ["funds:treasurer"],
            f"{unit}/registrar-one-{county}": ["funds:registrar"],
            f"{unit}/registrar-two-{county}": ["funds:registrar"],
            f"{unit}/officer-{county}": ["funds:officer"],
            f"{unit}/witness-{county}": ["funds:witness"],
        }
    for one in households():
        if one.controller is not None:
            cast[f"{HOUSEHOLDS}/{one.controller}"] = []
    return cast


def unit_of(county: str) -> str:
    """The organisation that a county is."""
    return f"{county}-county"


def township_line(household: Household) -> str:
    """The line that pays a household."""
    return f"{PROGRAMME}/{household.county}/{household.township}"


def project_line(county: str) -> str:
    """The line that pays a county's project."""
    return f"{PROGRAMME}/{county}/{PROJECT}"


def households() -> list[Household]:
    """The households, township by township; every second one confirms with a key of its own."""
    found: list[Household] = []
    for county, townships in COUNTIES.items():
        for township in townships:
            for _ in range(HOUSEHOLDS_PER_TOWNSHIP):
                number = len(found) + 1
                controller = f"household-{number:02d}" if number % 2 else None
                found.append(Household(f"p-{number:04d}", county, township, controller))
    return found


def contractors() -> list[Contractor]:
    """The contractors, one for each county."""
    return [Contractor(f"c-{county}", county) for county in COUNTIES]


def payee_book(seed: int) -> PayeeBook:
    """Who the payees are, in clear: what the authority and its bank share, and the ledger does not have."""
    draw = random.Random(f"guildbook funds people {seed}")  # noqa: S311 - a repeatable source, nothing secret
    names = [f"{given} {family}" for given in GIVEN for family in FAMILY]
    people = [one.payee for one in households()]
    payees = {payee: _holder(seed, payee, name) for payee, name in zip(people, draw.sample(names, len(people)),
                                                                       strict=True)}
    for one in contractors():
        name = f"{draw.choice(FAMILY)} {draw.choice(TRADES)}"
        payees[one.payee] = _holder(seed, one.payee, name)
    return PayeeBook(
        programme=PROGRAMME, currency=CURRENCY, identity_salt=_salt(seed, "identities"),
        debtor=_holder(seed, AUTHORITY, "Juniper Province Treasury"), payees=payees)


def another_account(seed: int, holder: Holder, payee: str) -> Holder:
    """The holder with the account that it opened when the first was closed."""
    other = _holder(seed, f"{payee} again", holder.name)
    return Holder(holder.name, other.salt, other=other.other, bic=holder.bic, identity=holder.identity)


def _salt(seed: int, name: str) -> str:
    """In life a salt is drawn by lot and kept; here it follows from the seed, so that a second run gives the same."""
    return hashlib.sha256(f"guildbook funds salt {seed} {name}".encode()).hexdigest()[:32]


def _holder(seed: int, payee: str, name: str) -> Holder:
    number = int(hashlib.sha256(f"guildbook funds account {seed} {payee}".encode()).hexdigest(), 16)
    return Holder(name, _salt(seed, payee), other=f"MADEUP{number % 10**12:012d}", bic=BANK_BIC,
                  identity=f"MADEUP-{number // 10**12 % 10**10:010d}")
