"""Reading over HTTP: status, blocks, rows, queries, the log's tiles, problems, and a description of all of it."""

import base64
from pathlib import Path

import pytest

from guildbook.api.reference import http_reference
from guildbook.chain.genesis import read_genesis
from guildbook.primitives import checkpoint
from guildbook.primitives.cometbft import decode_block, header_hash
from guildbook.primitives.errors import ERRORS
from guildbook.primitives.merkle_log import leaf_hash, root
from node_harness import asking, founded, problem

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http.md"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("node") / "n")
    with asking(folder) as http:
        for number in range(12):
            http.client.call("units.issue", to=f"account-{number:02}", units=number + 1)
        yield http


def test_status_names_the_network_its_roots_and_the_source_of_each_contract(node):
    status = node.get("/v1/status").json()
    assert status["network"] == "test-net"
    assert status["log_size"] >= 12
    names = {one["name"]: one["source"] for one in status["contracts"]}
    assert {"governance", "parties", "units"} <= set(names)
    genesis = read_genesis(node.get("/v1/genesis").content)
    assert genesis.hash.hex() == status["genesis_hash"]


def test_an_idle_ledger_is_provable_to_its_last_block(node):
    for _ in range(100):
        status = node.get("/v1/status").json()
        if status["provable_height"] == status["height"]:
            return
    raise AssertionError(status)


def test_blocks_link_to_one_another_and_list_their_transactions(node):
    first, second = node.get("/v1/blocks/1").json(), node.get("/v1/blocks/2").json()
    assert second["last_block_hash"] == first["hash"]
    raw = node.get("/v1/blocks/2/data")
    assert header_hash(decode_block(raw.content).header).hex() == second["hash"]
    lines = [
        line
        for height in range(1, node.get("/v1/status").json()["height"] + 1)
        for line in node.get(f"/v1/blocks/{height}").json()["transactions"]
    ]
    assert len(lines) == 12
    assert {line["calls"][0] for line in lines} == {"units.issue"}
    assert {(line["party"], line["organisation"], line["outcome"]) for line in lines} == {
        ("admin", "operator", "applied")
    }


def test_blocks_that_are_not_there_are_not_found(node):
    for path in (
        "/v1/blocks/0",
        "/v1/blocks/-1",
        "/v1/blocks/999999",
        "/v1/blocks/99999999999999999999/data",
    ):
        problem(node.get(path), 404, "api.not_found")


def test_rows_come_in_key_order_page_by_page(node):
    seen, after = [], None
    while True:
        page = node.get(
            "/v1/tables/units/accounts",
            params={"limit": 5} if after is None else {"limit": 5, "after": after},
        ).json()
        seen.extend(row["id"] for row in page["rows"])
        after = page["next"]
        if after is None:
            break
        assert len(page["rows"]) == 5
    assert seen == sorted(f"account-{number:02}" for number in range(12))


def test_rows_are_found_by_the_first_parts_of_their_key(node):
    rows = node.get("/v1/tables/parties/party_roles", params={"prefix": "admin"}).json()["rows"]
    assert {"party": "admin", "permission": "units:issuer"} in rows
    params = [("prefix", "admin"), ("prefix", "units:issuer")]
    assert node.get("/v1/tables/parties/party_roles", params=params).json()["rows"] == [
        {"party": "admin", "permission": "units:issuer"}
    ]
    assert node.get("/v1/tables/parties/party_roles", params={"prefix": "nobody"}).json()["rows"] == []


def test_a_row_is_found_by_its_key_also_by_key_text(node):
    row = node.get("/v1/tables/units/accounts/row", params={"key": "account-03"}).json()
    assert row["row"] == {"id": "account-03", "holder": "admin", "units": 4}
    text = "ed25519:" + node.client.key.public_key[1:].hex()
    row = node.get("/v1/tables/parties/keys/row", params={"key": text}).json()["row"]
    assert row["party"] == "admin"
    assert row["valid_from"].endswith("Z")


def test_a_key_that_does_not_fit_is_a_problem(node):
    problem(node.get("/v1/tables/units/accounts/row", params={"key": "zz"}), 404, "api.not_found")
    problem(node.get("/v1/tables/units/accounts/row"), 422, "call.bad_arguments")
    problem(node.get("/v1/tables/units/accounts/row?key=a&key=b"), 422, "call.bad_arguments")
    problem(node.get("/v1/tables/units/accounts", params={"prefix": "no spaces"}), 422, "call.bad_arguments")
    problem(node.get("/v1/tables/units/accounts", params={"after": "zz"}), 400, "api.bad_request")
    problem(
        node.get("/v1/tables/units/accounts", params={"after": "00", "prefix": "b"}), 400, "api.bad_request"
    )
    problem(node.get("/v1/tables/units/accounts", params={"limit": 0}), 400, "api.bad_request")
    problem(node.get("/v1/tables/units/nothing"), 404, "api.not_found")
    problem(node.get("/v1/tables/nothing/accounts"), 404, "call.unknown_contract")


def test_queries_take_arguments_from_the_address(node):
    assert node.get("/v1/queries/units/total").json()["result"] == sum(range(1, 13))
    answer = node.get("/v1/queries/units/holdings", params={"holder": "admin"}).json()
    assert answer["result"][0] == ["account-00", 1]
    assert answer["height"] >= 12
    problem(node.get("/v1/queries/units/holdings"), 422, "call.bad_arguments")
    problem(node.get("/v1/queries/units/holdings?holder=a&holder=b"), 422, "call.bad_arguments")
    problem(node.get("/v1/queries/units/holdings?holder=a&x=b"), 422, "call.bad_arguments")
    problem(node.get("/v1/queries/units/nothing"), 404, "call.unknown_command")


def test_a_query_that_writes_changes_nothing(node):
    before = node.get("/v1/status").json()["state_root"]
    node.get("/v1/queries/units/writes")
    assert node.get("/v1/queries/units/total").json()["result"] == sum(range(1, 13))
    assert node.get("/v1/status").json()["state_root"] == before


def test_the_error_table_is_published_and_every_problem_leads_to_its_row(node):
    assert {row["code"] for row in node.get("/v1/errors").json()} == set(ERRORS)
    document = problem(node.get("/v1/blocks/0"), 404, "api.not_found")
    assert node.get(document["type"]).json()["next_step"]
    row = node.get("/v1/errors/units.not_enough").json()
    assert row["summary"] == "The account does not hold that many units."
    problem(node.get("/v1/errors/nothing.like_this"), 404, "api.not_found")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/status", "/v1/status/more", "/v1/%00", "/v1/../etc/passwd"]
)
def test_unknown_addresses_are_problems(node, path):
    problem(node.get(path), 404, "api.not_found")


def test_wrong_methods_are_problems_that_name_the_right_ones(node):
    for method, path in (
        ("DELETE", "/v1/status"),
        ("GET", "/v1/transactions"),
        ("PUT", "/v1/sql"),
        ("PATCH", "/metrics"),
    ):
        response = node.request(method, path)
        problem(response, 405, "api.bad_request")
        assert "allow" in response.headers


def test_every_answer_has_a_number_that_the_log_knows(node):
    first, second = node.get("/v1/status"), node.get("/nowhere")
    assert len(first.headers["x-request-id"]) == 16
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


def test_a_node_without_views_says_so_when_it_is_asked_in_sql(node):
    problem(node.post("/v1/sql", json={"sql": "SELECT 1"}), 503, "api.unavailable")
    problem(node.post("/v1/sql", json={"sql": 1}), 400, "api.bad_request")
    problem(node.post("/v1/sql", content=b"{"), 400, "api.bad_request")
    problem(node.post("/v1/sql", json={"sql": "SELECT 1", "limit": 0}), 400, "api.bad_request")


def test_health_says_whether_the_node_should_get_requests(node):
    assert node.get("/v1/health/live").json() == {"ready": True, "reasons": []}
    assert node.get("/v1/health/ready").json() == {"ready": True, "reasons": []}


def test_metrics_count_what_happened(node):
    for _ in range(100):
        text = node.get("/metrics").text
        if 'guildbook_transactions_total{outcome="applied"} 12.0' in text:
            break
    assert 'guildbook_transactions_total{outcome="applied"} 12.0' in text
    assert 'guildbook_http_requests_total{method="POST",route="/v1/transactions",status="200"} 12.0' in text
    for name in ("height", "pending_transactions", "stage_seconds_total", "disk_free_bytes", "event_streams"):
        assert f"\nguildbook_{name}" in text


# the log


def test_the_checkpoint_is_signed_by_the_validator_and_states_the_log(node):
    status = node.get("/v1/status").json()
    note = node.get("/v1/checkpoint").content
    key = checkpoint.NoteKey("guildbook/test-net", node.node.engine._key.public_key)
    stated = checkpoint.verify_checkpoint(note, key)
    assert (stated.size, stated.root.hex()) == (status["log_size"], status["log_root"])
    assert base64.b64encode(stated.root) in node.get("/v1/log/checkpoint").content


def test_a_mirror_rebuilds_the_log_from_entries_and_tiles(node):
    size = node.get("/v1/status").json()["log_size"]
    bundle = node.get(f"/v1/log/tile/entries/000.p/{size}").content
    entries = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    hashes = [leaf_hash(entry) for entry in entries]
    assert root(hashes).hex() == node.get("/v1/status").json()["log_root"]
    assert node.get(f"/v1/log/tile/0/000.p/{size}").content == b"".join(hashes)


def test_tiles_that_are_not_there_are_not_found(node):
    for path in (
        "0/000",
        "0/000.p/200",
        "0/x001/000.p/1",
        "1/000.p/1",
        "entries/000",
        "entries/x001/000.p/1",
    ):
        problem(node.get(f"/v1/log/tile/{path}"), 404, "api.not_found")
    for path in ("0/1", "0/abc", "0/000.p/257", "0/000.p/0", "0/000.p/x", "0/x01/000", "entries/zz"):
        problem(node.get(f"/v1/log/tile/{path}"), 404, "api.not_found")
    problem(node.get("/v1/log/tile/9/000"), 400, "api.bad_request")


# the description


def test_the_reference_page_is_made_from_the_description():
    assert REFERENCE.read_text("utf-8") == http_reference()


def test_every_command_query_table_and_event_has_its_own_schema(node):
    document = node.get("/v1/openapi.json").json()
    catalogue = node.get("/v1/catalogue").json()
    paths, schemas = document["paths"], document["components"]["schemas"]
    for name, command in catalogue["commands"].items():
        path = f"/v1/contracts/{name.replace('.', '/')}"
        assert (path in paths) is not command["callers_only"], name
    for name in catalogue["queries"]:
        assert f"/v1/queries/{name.replace('.', '/')}" in paths
    for name in catalogue["tables"]:
        assert f"row.{name}" in schemas
        assert f"/v1/tables/{name.replace('.', '/')}" in paths
    for name in catalogue["events"]:
        assert f"event.{name}" in schemas
    issue = paths["/v1/contracts/units/issue"]["post"]
    arguments = issue["requestBody"]["content"]["application/json"]["schema"]["properties"]["arguments"]
    assert arguments["properties"]["units"] == {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    assert arguments["required"] == ["to", "units"]
    assert arguments["additionalProperties"] is False
    assert "units:issuer" in issue["description"]


def test_every_reference_in_the_description_leads_somewhere(node):
    document = node.get("/v1/openapi.json").json()

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    schemas = document["components"]["schemas"]
    found = set(references(document))
    assert found
    assert all(one.removeprefix("#/components/schemas/") in schemas for one in found)
    operations = [
        one for path in document["paths"].values() for one in path.values() if isinstance(one, dict)
    ]
    ids = [one["operationId"] for one in operations if "operationId" in one]
    assert len(ids) == len(set(ids)) == len(operations)
