"""Calling, asking and reading in SQL, on a running node and on the folder of a stopped one."""

import csv
import io
import json
import shlex

import pyarrow.parquet
import pytest

from command_line import CommandLine, filled, founded
from guildbook.cli import calling
from guildbook.cli.calling import call, named_values, query
from guildbook.cli.command import Command
from guildbook.cli.reading import csv_lines
from guildbook.client.catalogue import describe
from guildbook.client.documents import SqlAnswer
from guildbook.foundation import FOUNDATION
from guildbook.node import open_node
from guildbook.node.applications import load_applications
from guildbook.runtime.catalogue import Catalogue
from sample_contract import Units


@pytest.fixture
def run(capsys):
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("calling") / "node")
    filled(folder, blocks=2, calls=3)
    return folder


@pytest.fixture(scope="module", params=["running", "stopped"])
def place(request, tmp_path_factory):
    """The words that name a ledger, and its administrator's key file."""
    folder = founded(tmp_path_factory.mktemp(request.param) / "node")
    filled(folder, blocks=2, calls=3)
    if request.param == "stopped":
        yield ["--node", folder], folder / "keys" / "admin.key"
        return
    with open_node(folder) as opened, opened.running() as url:
        yield ["--url", url], folder / "keys" / "admin.key"


def test_a_command_is_called_and_its_receipt_shown(run, place):
    where, key = place
    ran = run.done("call", "units.move", "source=account-0", "target=b", "units=1", "--key", key, *where)
    lines = ran.out.splitlines()
    assert lines[0].startswith("applied in block ")
    assert lines[0].endswith(" as admin of operator")
    assert lines[1].startswith("transaction ")
    assert lines[2] == 'event units.moved source="account-0" target="b" units=1'
    told = run.done("call", "units.issue", "to=b", "units:=7", "--key", key, *where, "--json").document[
        "receipt"
    ]
    assert told["outcome"] == "applied"
    assert len(told["id"]) == 64


def test_a_refusal_is_told_with_its_values_and_its_receipt(run, place):
    where, key = place
    words = ["call", "units.move", "source=account-0", "target=b", "units=9000", "--key", key, *where]
    ran = run(*words)
    assert ran.status == 3
    lines = ran.err.splitlines()
    assert lines[0].startswith("error: The account does not hold that many units. (wanted 9000, free ")
    assert lines[0].endswith("[units.not_enough]")
    assert lines[1].startswith("  what to do: ")
    assert lines[2].startswith("  receipt: transaction ")
    told = run(*words, "--json")
    assert told.status == 3
    assert told.error["code"] == "units.not_enough"
    assert told.error["fields"]["wanted"] == 9000
    assert told.document["receipt"]["outcome"] == "rejected"


WRONG_CALLS = [
    (["units.issue", "to=b", "units=many"], 3, "call.bad_arguments", "'many' is not a whole number"),
    (["units.issue", "to=b", "units=1.5"], 3, "call.bad_arguments", "'1.5' is not a whole number"),
    (["units.issue", "to=b"], 3, "call.bad_arguments", "units is missing"),
    (["units.issue", "to=b", "units=1", "colour=red"], 3, "call.bad_arguments", "unknown argument colour"),
    (["units.nothing"], 3, "call.unknown_command", "units has no command 'nothing'"),
    (["nothing.at_all"], 3, "call.unknown_contract", "no contract 'nothing' runs"),
    (["nonsense"], 3, "call.unknown_contract", "no contract 'nonsense' runs"),
    (["units.issue", "to"], 2, "cli.usage", "'to' is no argument; write NAME=VALUE"),
    (["units.issue", "=1"], 2, "cli.usage", "'=1' is no argument"),
    (["units.issue", "to=a", "to=b"], 2, "cli.usage", "to is given twice"),
    (["units.issue", "to:={"], 2, "cli.usage", "to: '{' is not JSON"),
    (["units.inner"], 3, "call.not_permitted", ""),
    (["units.divide", "dividend=1", "divisor=0"], 3, "call.contract_fault", ""),
]


@pytest.mark.parametrize(
    ("words", "status", "code", "message"), WRONG_CALLS, ids=[" ".join(one[0]) for one in WRONG_CALLS]
)
def test_a_wrong_call_is_refused_with_the_reason(run, place, words, status, code, message):
    where, key = place
    ran = run("call", *words, "--key", key, *where, "--json")
    assert (ran.status, ran.error["code"]) == (status, code), ran
    assert message in ran.error["message"]
    assert ran.error["hint"]


def test_a_key_that_nobody_registered_is_refused(run, place, tmp_path):
    where, _key = place
    run.done("keys", "new", tmp_path / "stranger.key")
    ran = run("call", "units.issue", "to=b", "units=1", "--key", tmp_path / "stranger.key", *where, "--json")
    assert (ran.status, ran.error["code"]) == (3, "transaction.unknown_key")


def test_a_key_file_that_is_not_there_is_refused(run, place, tmp_path):
    ran = run("call", "units.issue", "to=b", "units=1", "--key", tmp_path / "nowhere.key", *place[0])
    assert ran.status == 2
    assert "nowhere.key cannot be read: No such file or directory" in ran.err


def test_a_query_is_answered_as_of_a_block(run, place):
    where, _key = place
    ran = run.done("query", "units.holdings", "holder=admin", *where)
    assert "account-1" in ran.out
    assert ran.out.splitlines()[-1].startswith("as of block ")
    answer = run.done("query", "units.total", *where, "--json").document
    assert answer["query"] == "units.total"
    assert answer["result"] >= 9
    assert answer["height"] >= 3


@pytest.mark.parametrize(
    "words", [["units.nothing"], ["units.holdings"], ["units.holdings", "holder=a", "x=1"]]
)
def test_a_wrong_query_is_refused(run, place, words):
    ran = run("query", *words, *place[0], "--json")
    assert ran.status == 3
    assert ran.error["code"] in ("call.unknown_command", "call.bad_arguments")


def test_sql_is_answered_as_of_a_named_block(run, place):
    where, _key = place
    ran = run.done(
        "sql", "SELECT id, units FROM units.accounts WHERE id LIKE 'account-%' ORDER BY id", *where
    )
    lines = ran.out.splitlines()
    assert lines[0].split() == ["id", "units"]
    assert [line.split()[0] for line in lines[2:5]] == ["account-0", "account-1", "account-2"]
    assert lines[5].startswith("3 rows as of block ")
    told = run.done("sql", "SELECT count(*) AS n FROM units.accounts", *where, "--at", 0, "--json").document
    assert (told["height"], told["rows"], told["columns"]) == (0, [[0]], ["n"])


def test_sql_sees_what_was_called_before(run, place):
    where, key = place
    for number in range(3):
        run.done("call", "units.issue", "to=fresh", "units=1", "--key", key, *where)
        answer = run.done(
            "sql", "SELECT units FROM units.accounts WHERE id = 'fresh'", *where, "--json"
        ).document
        assert answer["rows"] == [[number + 1]]


def test_sql_answers_in_csv(run, place):
    ran = run.done("sql", "SELECT 'a,b' AS x, NULL AS y, '' AS z, 5 AS n, true AS t", *place[0], "--csv")
    assert ran.out == 'x,y,z,n,t\r\n"a,b",,"",5,true\r\n'
    assert ran.err.startswith("1 row as of block ")


def test_sql_answers_in_parquet(run, place, tmp_path):
    literals = "TIMESTAMP '2026-01-31 12:00:00' AS t, 'ab'::BLOB AS b, 1.50::DECIMAL(9,2) AS d"
    statement = f"SELECT id, units, {literals} FROM units.accounts"
    run.done("sql", statement, *place[0], "--parquet", tmp_path / "a.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    row = table.to_pylist()[0]
    assert row["t"].isoformat() == "2026-01-31T12:00:00+00:00"
    assert (row["b"], str(row["d"])) == (b"ab", "1.50")
    assert int(table.schema.metadata[b"guildbook.height"]) >= 3
    again = run("sql", statement, *place[0], "--parquet", tmp_path / "a.parquet")
    assert again.status == 5


WRONG_SQL = [
    ("DELETE FROM units.accounts", 3, "sql.not_allowed"),
    ("SELECT * FROM nothing", 2, "sql.syntax"),
    ("SELEKT", 2, "sql.syntax"),
    ("SELECT * FROM read_csv('/etc/passwd')", 3, "sql.not_allowed"),
]


@pytest.mark.parametrize(("statement", "status", "code"), WRONG_SQL)
def test_sql_that_may_not_be_is_refused(run, place, statement, status, code):
    ran = run("sql", statement, *place[0], "--json")
    assert (ran.status, ran.error["code"]) == (status, code), ran


def test_a_height_that_is_not_there_yet_is_refused(run, place):
    ran = run("sql", "SELECT 1", "--at", 100_000, *place[0], "--json")
    assert ran.status == 3
    assert ran.error["code"] == "sql.unknown_height"


def test_status_tells_where_the_ledger_stands(run, place):
    where, _key = place
    ran = run.done("status", *where)
    assert ran.out.startswith("test-net at block ")
    document = run.done("status", *where, "--json").document
    assert document["running"] is (where[0] == "--url")
    assert document["height"] >= 3


def test_the_folder_one_is_in_is_the_ledger(run, node, monkeypatch):
    monkeypatch.chdir(node)
    assert run.done("status", "--json").document["network"] == "test-net"
    monkeypatch.chdir(node.parent)
    ran = run("status")
    assert ran.status == 5
    assert "is not the folder of a node" in ran.err


def test_the_ledger_can_be_named_in_the_environment(run, node, monkeypatch):
    monkeypatch.setenv("GUILDBOOK_NODE", str(node))
    assert run.done("status", "--json").document["running"] is False


def test_a_node_that_nobody_runs_is_told_as_such(run):
    ran = run("status", "--url", "http://127.0.0.1:9", "--timeout", 1, "--json")
    assert (ran.status, ran.error["code"]) == (4, "client.unreachable")


def test_the_folder_of_a_running_node_is_asked_over_http(run, node):
    with open_node(node) as opened, opened.running() as url:
        document = run.done("status", "--node", node, "--json").document
    assert document["url"] == url


def test_values_are_read_by_their_declaration():
    fields = describe("n", Catalogue([Units]), {}).command("units.move").arguments
    assert named_values(fields, ["source=a=b", "units=5", "target:=null"], "x") == {
        "source": "a=b",
        "units": 5,
        "target": None,
    }
    assert named_values(fields, ["unknown=5"], "x") == {"unknown": "5"}


def test_csv_quotes_what_csv_must():
    answer = SqlAnswer(3, ["a b", 'c"'], ["VARCHAR", "JSON"], [["x\ny", [1, "é"]], [False, {"k": None}]])
    text = "".join(csv_lines(answer))
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["a b", 'c"'],
        ["x\ny", json.dumps([1, "é"], ensure_ascii=False)],
        ["false", '{"k": null}'],
    ]


def test_the_calls_in_the_help_are_calls_that_there_are():
    known: dict[str, set[str]] = {}
    for contract in (*FOUNDATION, *load_applications(["points"])):
        for name, command in contract.commands.items():
            known[f"{contract.contract_name}.{name}"] = {one.name for one in command.arguments}
        for name, asked in contract.queries.items():
            known[f"{contract.contract_name}.{name}"] = {one.name for one in asked.arguments}
    found = 0
    for words_of in (calling.call, calling.query):
        for example in words_of.examples:
            words = shlex.split(example)
            names = {word.partition("=")[0].rstrip(":") for word in words[3:] if "=" in word and word[0] != "-"}
            assert words[2] in known, example
            assert names <= known[words[2]], example
            found += 1
    assert found >= 4


def example_words() -> list[list[str]]:
    """The examples of `call`, `query` and `prove` in the help, as words."""
    found = []
    for name, command in (("call", call), ("query", query)):
        assert isinstance(command, Command)
        found += [shlex.split(one)[1:] for one in command.examples if one.startswith(f"guildbook {name} ")]
    return found


@pytest.mark.parametrize("words", example_words(), ids=" ".join)
def test_examples_of_the_help_fit_the_contracts(words):
    catalogue = describe("n", Catalogue([*FOUNDATION, *load_applications(["points"])]), {})
    declared = catalogue.command(words[1]) if words[0] == "call" else catalogue.query(words[1])
    given = [word.partition("=")[0].removesuffix(":") for word in words[2:] if "=" in word]
    assert set(given) <= {one.name for one in declared.arguments}
    assert {one.name for one in declared.arguments if one.required} <= set(given)
