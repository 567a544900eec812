"""Operational errors, and the one table that says what every platform code means.

Three things can go wrong, and they are kept apart. A *rejection* is expected: a contract refuses a command,
and the receipt says why. A `GuildbookError` is operational: bytes that are no transaction, a store that is
locked, a node that cannot be reached. An `assert` is our own mistake and halts the node.

A code is dotted, `<subject>.<what>`, in lower case. `ERRORS` maps each code of the platform to the status of
an HTTP answer (a problem document by RFC 9457), the exit status of the command line, one sentence that says
what it means and one that says what to do next. Codes of contracts (`points.not_enough_units`) are not in the
table, because contracts bring them: `spec_for` answers for those with the meaning "refused by the contract".

Exit statuses: 0 done, 2 wrong usage, 3 refused by the ledger, 4 not reachable or not ready (trying again can
help), 5 the store or a configuration of this node needs attention, 6 a proof or a signature does not hold.
"""

from __future__ import annotations

import dataclasses

EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_UNREACHABLE = 4
EXIT_NODE = 5
EXIT_UNPROVEN = 6


class GuildbookError(Exception):
    """An operational error: what was refused, the values, and what to try.

    `code` is a dotted code, `message` one sentence for the person who meets the error, `hint` what to do next
    (empty: the `next_step` of the table applies) and `fields` the values involved, by name.
    """

    def __init__(self, code: str, message: str, *, hint: str = "", **fields: object) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.hint = hint
        self.fields = fields

    def __str__(self) -> str:
        """The code, the message and the hint on one line."""
        text = f"{self.code}: {self.message}"
        return f"{text} ({self.hint})" if self.hint else text


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorSpec:
    """What one code means to each kind of reader.

    `http_status` is the status of an HTTP answer (400..599), `exit_status` the exit status of the command
    line (2..6), `summary` one sentence that says what happened and `next_step` one that says what to do.
    """

    code: str
    http_status: int
    exit_status: int
    summary: str
    next_step: str


# fmt: off
_SPECS: tuple[ErrorSpec, ...] = (
    # Bytes and names
    ErrorSpec("canonical.malformed", 400, EXIT_REFUSED,
              "The bytes are not a value of the canonical encoding, or not one of the expected type.",
              "Build the bytes with a client library, and compare them with the encoding page."),
    ErrorSpec("canonical.not_canonical", 400, EXIT_REFUSED,
              "An integer or a length is written in a longer form than it needs.",
              "Use the shortest form of every integer and every length."),
    ErrorSpec("identifier.malformed", 400, EXIT_USAGE,
              "A name or code is longer than allowed or has characters that are not allowed.",
              "Use the characters and the length that the message names."),
    ErrorSpec("key.malformed", 400, EXIT_USAGE,
              "The bytes are not a public key of their algorithm.",
              "Send the algorithm's name, a colon and the key in lower-case hexadecimal digits."),
    ErrorSpec("key.unsupported", 400, EXIT_USAGE,
              "The algorithm of the key is not one that this network accepts.",
              "Register a key of an algorithm that the keys page lists."),
    ErrorSpec("key.small_order", 400, EXIT_REFUSED,
              "The public key is a point of small order, for which anybody can make signatures.",
              "Make a new key."),
    # Transactions
    ErrorSpec("transaction.malformed", 400, EXIT_REFUSED,
              "The bytes are not a transaction.",
              "Build transactions with a client library, and compare the bytes with the transaction page."),
    ErrorSpec("transaction.not_canonical", 400, EXIT_REFUSED,
              "The transaction can be read, but its bytes are not the canonical encoding.",
              "Encode the body once, sign those bytes, and send the same bytes."),
    ErrorSpec("transaction.too_large", 413, EXIT_REFUSED,
              "The transaction is larger than the network allows.",
              "Divide it into several transactions, or anchor a digest instead of the content."),
    ErrorSpec("transaction.wrong_version", 400, EXIT_REFUSED,
              "The transaction has a format version that this network does not speak.",
              "Use a client of the network's version."),
    ErrorSpec("transaction.wrong_network", 400, EXIT_REFUSED,
              "The transaction is signed for another network.",
              "Sign it again with the id of this network."),
    ErrorSpec("transaction.bad_signature", 401, EXIT_REFUSED,
              "The signature does not belong to these bytes and this key.",
              "Sign the exact body bytes with the prefix of the transaction page, and send the same bytes."),
    ErrorSpec("transaction.expired", 409, EXIT_REFUSED,
              "The last height at which the transaction was valid has passed.",
              "Make sure that it was not applied, then sign it again with a later height."),
    ErrorSpec("transaction.valid_too_far", 400, EXIT_REFUSED,
              "The transaction asks to be valid further ahead than the network allows.",
              "Sign it again with a nearer height."),
    ErrorSpec("transaction.unknown_key", 401, EXIT_REFUSED,
              "No party has registered the key that signed.",
              "Have the organisation register the key, or sign with a registered one."),
    ErrorSpec("transaction.key_not_valid", 403, EXIT_REFUSED,
              "The key is registered, but is not valid now: it is revoked, expired, or not yet valid.",
              "Sign with a key that is valid now."),
    ErrorSpec("transaction.party_not_active", 403, EXIT_REFUSED,
              "The party that signed is suspended or closed.",
              "Ask an administrator of the organisation about the party."),
    ErrorSpec("transaction.organisation_not_active", 403, EXIT_REFUSED,
              "The organisation of the party is suspended or has left.",
              "Ask the members of the network about the organisation."),
    ErrorSpec("transaction.duplicate", 409, EXIT_REFUSED,
              "This transaction has been applied already.",
              "Read its receipt; to do the same again, sign with a new nonce."),
    ErrorSpec("transaction.too_many_calls", 400, EXIT_REFUSED,
              "The transaction has no call, or more calls than the network allows.",
              "Send between one call and the greatest number that the message names."),
    # Calls
    ErrorSpec("call.unknown_contract", 404, EXIT_REFUSED,
              "No contract of this name is active on the network.",
              "List the contracts of the network and check the spelling."),
    ErrorSpec("call.unknown_command", 404, EXIT_REFUSED,
              "The contract has no command of this name.",
              "List the commands of the contract and check the spelling."),
    ErrorSpec("call.bad_arguments", 422, EXIT_REFUSED,
              "The arguments do not fit the command's declaration.",
              "Compare number, order, types and ranges with the command's reference."),
    ErrorSpec("call.not_permitted", 403, EXIT_REFUSED,
              "The party has no permission to call the command.",
              "Ask an administrator of the organisation to grant the role."),
    ErrorSpec("call.limit_exceeded", 422, EXIT_REFUSED,
              "The call would read, write or emit more than one call may.",
              "Divide the work into several calls or transactions."),
    ErrorSpec("call.contract_fault", 500, EXIT_REFUSED,
              "The contract failed by its own mistake; nothing of the transaction was applied.",
              "Report the transaction id to the contract's author."),
    ErrorSpec("contract.not_deterministic", 422, EXIT_USAGE,
              "The contract's source uses something whose result can differ from node to node.",
              "Write what the message proposes instead."),
    ErrorSpec("contract.bad_declaration", 422, EXIT_USAGE,
              "The contract has a declaration that the platform cannot derive from.",
              "Correct the declaration that the message names."),
    # Blocks and genesis
    ErrorSpec("block.malformed", 400, EXIT_REFUSED,
              "The bytes are not a block.",
              "Fetch the block again, from another node if need be."),
    ErrorSpec("block.too_large", 413, EXIT_REFUSED,
              "The block is larger than the network allows.",
              "Check that the node and the network have the same limits."),
    ErrorSpec("block.wrong_height", 409, EXIT_REFUSED,
              "The block does not follow the last one.",
              "Fetch the blocks in order, from the height that the message names."),
    ErrorSpec("block.bad_commit", 422, EXIT_UNPROVEN,
              "The signatures under the block do not carry more than two thirds of the voting power.",
              "Fetch the block from another node, and check the validator set that it is held against."),
    ErrorSpec("genesis.malformed", 400, EXIT_NODE,
              "The genesis file is incomplete or contradicts itself.",
              "Correct the entry that the message names."),
    ErrorSpec("genesis.mismatch", 409, EXIT_NODE,
              "The genesis file is not the one that this store or network began with.",
              "Use the genesis file that the members agreed, or another data folder."),
    # The store
    ErrorSpec("store.locked", 503, EXIT_NODE,
              "Another process has the store open for writing.",
              "Stop the other node, or open the store for reading."),
    ErrorSpec("store.corrupt", 500, EXIT_NODE,
              "The store's content contradicts itself.",
              "Stop the node, keep the folder for inspection, and restore from a snapshot."),
    ErrorSpec("store.full", 507, EXIT_NODE,
              "There is no room left on the volume of the store.",
              "Free space on the volume; the node goes on from its last block."),
    ErrorSpec("store.missing", 500, EXIT_NODE,
              "There is no store at this place.",
              "Check the data folder, or make a new node there."),
    ErrorSpec("store.not_empty", 409, EXIT_NODE,
              "The place for a new store holds something already.",
              "Choose an empty folder."),
    ErrorSpec("store.version", 500, EXIT_NODE,
              "The store was written in a format that this version does not read.",
              "Use the version that the message names, or restore from a snapshot."),
    ErrorSpec("store.read_only", 500, EXIT_NODE,
              "The store is where nothing can be written, and it cannot be opened there.",
              "Copy the folder to a place that can be written, and use the copy."),
    ErrorSpec("store.io", 500, EXIT_NODE,
              "The operating system refused to read or write the store.",
              "Check the volume and the permissions of the data folder."),
    # Reading
    ErrorSpec("sql.not_allowed", 403, EXIT_REFUSED,
              "The statement does something that a reader may not do.",
              "Send one SELECT over the tables that the reader may see."),
    ErrorSpec("sql.syntax", 400, EXIT_USAGE,
              "The statement is not valid SQL, or names a table or column that does not exist.",
              "Correct the statement at the place that the message names."),
    ErrorSpec("sql.timeout", 504, EXIT_REFUSED,
              "The statement took longer than a statement may.",
              "Narrow it, or export the table and query the export."),
    ErrorSpec("sql.too_many_rows", 422, EXIT_REFUSED,
              "The answer has more rows than an answer may have.",
              "Add a LIMIT or a condition, or export the table."),
    ErrorSpec("sql.unknown_height", 404, EXIT_REFUSED,
              "The views do not hold the height that was asked for.",
              "Ask for a height between the first retained one and the last block."),
    ErrorSpec("views.behind", 503, EXIT_UNREACHABLE,
              "The views have not reached the height that the caller waits for.",
              "Try again shortly, or accept an answer as of an earlier height."),
    ErrorSpec("views.corrupt", 500, EXIT_NODE,
              "The views do not agree with the blocks that they were built from.",
              "Delete the views and let the node build them again from the blocks."),
    # Evidence
    ErrorSpec("evidence.malformed", 400, EXIT_UNPROVEN,
              "The file is not an evidence file, or a part of it is missing.",
              "Export the evidence again from a node of the network."),
    ErrorSpec("evidence.wrong_version", 400, EXIT_UNPROVEN,
              "The evidence file has a format version that this verifier does not read.",
              "Use the verifier of the version that the message names."),
    ErrorSpec("evidence.wrong_network", 422, EXIT_UNPROVEN,
              "The evidence is of another network than the trust anchor.",
              "Use the trust anchor that this network published."),
    ErrorSpec("evidence.bad_proof", 422, EXIT_UNPROVEN,
              "The proof does not lead from the fact to the root that the members signed.",
              "Treat the fact as unproven; export the evidence again from a node that you trust."),
    ErrorSpec("evidence.bad_signature", 422, EXIT_UNPROVEN,
              "The signatures do not carry more than two thirds of the voting power for the block.",
              "Treat the fact as unproven; export the evidence again from a node that you trust."),
    ErrorSpec("evidence.untrusted", 422, EXIT_UNPROVEN,
              "The validators that signed do not descend from the trust anchor.",
              "Get the trust anchor from a second source, and evidence that has the changes of validators."),
    ErrorSpec("evidence.not_available", 404, EXIT_REFUSED,
              "The node cannot prove this yet, or no longer.",
              "Wait for the next block, or ask a node that keeps the whole history."),
    # Asking a node
    ErrorSpec("api.bad_request", 400, EXIT_USAGE,
              "The request is not one that the route understands.",
              "Compare the request with the OpenAPI description."),
    ErrorSpec("api.not_found", 404, EXIT_REFUSED,
              "There is nothing at this address.",
              "Check the address, and that the height, id or name exists."),
    ErrorSpec("api.too_busy", 429, EXIT_UNREACHABLE,
              "The node has more requests waiting than it accepts.",
              "Try again after the delay that the answer names."),
    ErrorSpec("api.payload_too_large", 413, EXIT_REFUSED,
              "The body of the request is larger than the node accepts.",
              "Divide the request."),
    ErrorSpec("api.unavailable", 503, EXIT_UNREACHABLE,
              "The node is starting, stopping or behind the network.",
              "Try again shortly, or ask another node."),
    ErrorSpec("client.unreachable", 502, EXIT_UNREACHABLE,
              "The node could not be reached, or its answer could not be read.",
              "Check the address and that the node runs."),
    ErrorSpec("client.timeout", 504, EXIT_UNREACHABLE,
              "The node did not answer in time, or the transaction was not applied in time.",
              "Look for the transaction by its id before you sign another."),
    ErrorSpec("cli.usage", 400, EXIT_USAGE,
              "The command line is not understood, or an option contradicts another.",
              "Run the command with `--help`."),
    ErrorSpec("protobuf.malformed", 400, EXIT_UNPROVEN,
              "The bytes are not a protobuf message of the expected shape.",
              "Fetch the block, header or commit again, from another node if need be."),
    ErrorSpec("cometbft.malformed", 400, EXIT_UNPROVEN,
              "The bytes or JSON are not a header, commit, validator set or block in its one form.",
              "Fetch it again, from another node if need be."),
    ErrorSpec("cometbft.block_mismatch", 422, EXIT_UNPROVEN,
              "The block's content does not belong to its header.",
              "Fetch the block again from another node."),
    ErrorSpec("cometbft.commit_mismatch", 422, EXIT_UNPROVEN,
              "The commit is for another height, block or number of validators.",
              "Fetch header, commit and validator set of one height."),
    ErrorSpec("cometbft.bad_vote", 422, EXIT_UNPROVEN,
              "A place in the commit is not what its validator may put there.",
              "Fetch the commit again from another node."),
    ErrorSpec("cometbft.bad_signature", 422, EXIT_UNPROVEN,
              "A validator's signature in the commit does not verify.",
              "Fetch the commit again from another node, and check the network's id."),
    ErrorSpec("cometbft.not_enough_power", 422, EXIT_UNPROVEN,
              "No more than two thirds of the voting power signed the block.",
              "Fetch a complete commit from another node."),
    ErrorSpec("cometbft.not_enough_trust", 422, EXIT_UNPROVEN,
              "Too little of the trusted voting power signed the later header.",
              "Verify a header in between first."),
    ErrorSpec("cometbft.wrong_network", 422, EXIT_UNPROVEN,
              "The header is of another network.",
              "Use the trust anchor of that network."),
    ErrorSpec("cometbft.wrong_validators", 422, EXIT_UNPROVEN,
              "The header names another validator set than the one given or announced.",
              "Fetch the validator set of the header's height."),
    ErrorSpec("cometbft.trust_expired", 422, EXIT_UNPROVEN,
              "The trusted header is older than the trusting period.",
              "Get a newer trusted header from a source that you trust."),
    ErrorSpec("cometbft.not_later", 422, EXIT_UNPROVEN,
              "The header is not later than the trusted one.",
              "Start from an earlier trusted header."),
    ErrorSpec("cometbft.from_the_future", 422, EXIT_UNPROVEN,
              "The header's time is ahead of this computer's clock.",
              "Check the clock."),
    ErrorSpec("evidence.bad_trust", 400, EXIT_USAGE,
              "The trust anchor file cannot be read.",
              "Fetch it again from where the network publishes it."),
    ErrorSpec("evidence.too_large", 422, EXIT_REFUSED,
              "The evidence would be larger than an evidence file may be.",
              "Ask for a smaller range of rows."),
    ErrorSpec("evidence.wrong_block", 422, EXIT_UNPROVEN,
              "The block in the file is not the one that the signed header names.",
              "Export the evidence again."),
    ErrorSpec("evidence.wrong_app_hash", 422, EXIT_UNPROVEN,
              "The signed header does not commit to the roots in the file.",
              "Treat the fact as unproven; export the evidence again from a node that you trust."),
    ErrorSpec("evidence.wrong_content", 422, EXIT_UNPROVEN,
              "The receipt or transaction in the file is not the one that the proof is for.",
              "Export the evidence again."),
    ErrorSpec("evidence.log_inclusion", 422, EXIT_UNPROVEN,
              "The receipt is not shown to be in the log.",
              "Treat the fact as unproven; export the evidence again from a node that you trust."),
    ErrorSpec("evidence.log_consistency", 422, EXIT_UNPROVEN,
              "One state of the log is not shown to continue the other.",
              "Keep both, and ask the members: one of them was rewritten."),
    ErrorSpec("evidence.row_proof", 422, EXIT_UNPROVEN,
              "The row is not shown to be in the state.",
              "Treat the fact as unproven; export the evidence again from a node that you trust."),
    ErrorSpec("evidence.absence_proof", 422, EXIT_UNPROVEN,
              "The absence of the row is not shown.",
              "Treat the fact as unproven; export the evidence again from a node that you trust."),
    ErrorSpec("evidence.range_proof", 422, EXIT_UNPROVEN,
              "The rows are not shown to be all of the range.",
              "Treat the fact as unproven; export the evidence again from a node that you trust."),
    ErrorSpec("node.bad_configuration", 500, EXIT_USAGE,
              "A value of the node's configuration is unknown or outside its bounds.",
              "Correct the file or the variable; the configuration reference lists every value."),
    ErrorSpec("node.assertions_off", 500, EXIT_NODE,
              "The node was started with assertions switched off.",
              "Start it without -O and without PYTHONOPTIMIZE."),
    ErrorSpec("engine.missing", 500, EXIT_NODE,
              "CometBFT is neither on this machine nor can it be built here.",
              "Do what the message proposes; a node of the engine solo needs no CometBFT."),
    ErrorSpec("engine.wrong_version", 500, EXIT_NODE,
              "The CometBFT at hand is of another version than the network runs.",
              "Use the version that the message names."),
    ErrorSpec("engine.wrong_home", 409, EXIT_NODE,
              "The engine's folder belongs to another network or to other keys.",
              "Find out whose folder it is; two nodes with one key sign twice."),
    ErrorSpec("engine.stopped", 500, EXIT_NODE,
              "The CometBFT process beside the node could not be started, or ended by itself.",
              "Read the last lines of its log, and start the node again."),
    ErrorSpec("engine.halted", 500, EXIT_NODE,
              "CometBFT met a failure in consensus, and takes no part any more.",
              "Keep the folder as it is, compare with the other members, and do not delete anything."),
    ErrorSpec("engine.unreachable", 503, EXIT_UNREACHABLE,
              "The CometBFT process beside the node does not answer.",
              "See whether the node runs, and the engine's log."),
    ErrorSpec("network.malformed", 400, EXIT_USAGE,
              "A proposal, a join or a list of peers cannot be read, or contradicts itself.",
              "Correct the entry that the message names, or ask its author for it again."),
    ErrorSpec("network.mismatch", 409, EXIT_USAGE,
              "What a member has is not what the members propose or agreed on.",
              "Compare the hashes with the other members before you go on."),
    ErrorSpec("network.bad_proof", 422, EXIT_UNPROVEN,
              "A join lacks the signature of a key that it names, or was altered.",
              "Ask its author to make the join again."),
    ErrorSpec("network.incomplete", 409, EXIT_USAGE,
              "Joins of some of the proposed members are missing.",
              "Collect the joins that the message names."),
    ErrorSpec("sql.busy", 429, EXIT_UNREACHABLE,
              "As many statements run as the node allows.",
              "Try again shortly."),
    ErrorSpec("sql.failed", 422, EXIT_REFUSED,
              "The statement failed while it ran.",
              "Read the message: a division, a conversion or a function refused a value."),
    ErrorSpec("sql.too_large", 422, EXIT_REFUSED,
              "The answer is larger than one answer may be, or needs more memory.",
              "Ask for less: fewer columns, a LIMIT, or an aggregate."),
    ErrorSpec("views.unavailable", 503, EXIT_UNREACHABLE,
              "The SQL views are not running on this node.",
              "Try again shortly; else see the node's log, and whether views are enabled."),
    ErrorSpec("views.unknown_table", 500, EXIT_NODE,
              "The change feed names a table that the views do not have.",
              "Rebuild the views with the contracts that the ledger runs."),
    ErrorSpec("views.mismatch", 500, EXIT_NODE,
              "The views belong to another ledger, or to another version of their form.",
              "Remove the views folder; they are rebuilt from the ledger."),
)
# fmt: on

ERRORS: dict[str, ErrorSpec] = {spec.code: spec for spec in _SPECS}


def spec_for(code: str) -> ErrorSpec:
    """The meaning of `code`: its row in `ERRORS`, or, for the code of a contract's rejection, a refusal (HTTP
    status 422, exit status 3).
    """
    spec = ERRORS.get(code)
    if spec is not None:
        return spec
    return ErrorSpec(
        code,
        422,
        EXIT_REFUSED,
        "The contract refused the command.",
        "Read the receipt's fields, and the rejections in the contract's reference.",
    )
