"""Generated requests: whatever is sent, nobody gets a failure of the node, and nothing of the ledger changes."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from guildbook.primitives.errors import ERRORS
from node_harness import asking, founded

pytestmark = pytest.mark.fuzz


@schemathesis.serializer("application/msgpack")
def as_bytes(_context, value):
    """Bodies in MessagePack are opaque to the description: any text will do."""
    return str(value).encode("utf-8", "surrogatepass")


EXAMPLES_PER_ROUTE = 4
ALLOWED_5XX = {503}
"""A node without views says so, and that is no failure."""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = founded(tmp_path_factory.mktemp("node") / "n", http__requests_running_max=64)
    with asking(folder) as http:
        http.client.call("units.issue", to="x", units=5)
        yield http


@pytest.fixture(scope="module")
def paths(node):
    return list(node.get("/v1/openapi.json").json()["paths"])


def state(node):
    status = node.get("/v1/status").json()
    return status["state_root"], status["log_root"], status["log_size"]


def unharmed(response, before, node):
    assert response.status_code < 500 or response.status_code in ALLOWED_5XX, response.text
    if response.status_code >= 400 and response.content:
        document = response.json()
        assert document["code"] in ERRORS or document["code"].startswith("units."), document
        assert "Traceback" not in response.text
    assert state(node) == before


words = st.one_of(
    st.sampled_from(
        ["units", "accounts", "issue", "total", "parties", "keys", "row", "0", "1", "-1", "x" * 300]
    ),
    st.text(max_size=20),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
several = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@several
@given(
    data=st.data(),
    body=st.binary(max_size=300),
    kind=st.sampled_from(["application/msgpack", "application/json", "", "x/y"]),
)
def test_random_bytes_to_any_route_do_no_harm(node, paths, data, body, kind):
    before = state(node)
    path = data.draw(st.sampled_from(paths))
    method = data.draw(st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS"]))
    if path == "/v1/events" and method == "GET":
        return
    response = node.request(
        method, path.replace("{", "").replace("}", ""), content=body, headers={"content-type": kind}
    )
    unharmed(response, before, node)


@several
@given(data=st.data(), body=json_values)
def test_random_json_to_any_route_does_no_harm(node, paths, data, body):
    before = state(node)
    path = data.draw(st.sampled_from([one for one in paths if "{" not in one]))
    shaped = data.draw(
        st.sampled_from(
            [
                body,
                {"arguments": body, "key": "ed25519:" + "ab" * 32},
                {"arguments": {"to": body, "units": body}, "key": body},
                {"envelope": body},
                {"sql": body, "params": body, "at": body},
            ]
        )
    )
    try:
        response = node.post(path, json=shaped)
    except ValueError:  # not a number in JSON
        return
    unharmed(response, before, node)


@several
@given(parts=st.lists(words, max_size=5), query=st.dictionaries(words, words, max_size=3))
def test_random_addresses_do_no_harm(node, parts, query):
    before = state(node)
    path = "/".join(httpx.QueryParams({"x": one}).get("x") for one in parts)
    try:
        url = httpx.URL(node.base_url).copy_with(path="/v1/" + path, params=query)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return
    if url.path.startswith("/v1/events"):
        return
    unharmed(node.get(url), before, node)


@several
@given(
    table=st.sampled_from(["parties/keys", "parties/party_roles", "units/accounts", "governance/releases"]),
    prefix=st.lists(st.text(max_size=70), max_size=4),
    after=st.none() | st.binary(max_size=40).map(bytes.hex) | st.text(max_size=10),
    limit=st.none() | st.integers(),
)
def test_random_keys_of_tables_do_no_harm(node, table, prefix, after, limit):
    before = state(node)
    params = {"prefix": prefix, "key": prefix, "after": after, "limit": limit}
    asked = {name: value for name, value in params.items() if value is not None}
    for path in (f"/v1/tables/{table}", f"/v1/tables/{table}/row", f"/v1/evidence/absence/{table}"):
        try:
            response = node.get(path, params=asked)
        except UnicodeError:  # text that has no UTF-8 cannot be sent
            return
        unharmed(response, before, node)


def test_what_the_description_allows_is_answered_as_it_says(node):
    schema = schemathesis.openapi.from_dict(node.get("/v1/openapi.json").json()).exclude(path="/v1/events")
    schema = schema.exclude(path_regex=r"^/v1/(contracts|queries|tables)/(?!\{|units|parties)")
    checks = [not_a_server_error, content_type_conformance, response_schema_conformance]
    before = state(node)
    operations = [one.ok() for one in schema.get_all_operations()]
    assert len(operations) > 40

    for operation in operations:

        @settings(max_examples=EXAMPLES_PER_ROUTE, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def holds(case):
            response = case.call(base_url=str(node.base_url))
            if response.status_code not in ALLOWED_5XX:
                case.validate_response(response, checks=checks)
            assert state(node) == before

        holds()
