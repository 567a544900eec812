"""Documents of other worlds: pure adapters between standard documents and typed records.

Bytes go in and frozen records come out, or records go in and bytes come out. Nothing here reads a file, a clock or
a network, and nothing is random: the same input gives the same records and the same bytes on every node, so an
outbound message need not be kept, it can be made again.

`iso20022` speaks of payments (pain, pacs, camt, head), `ocds` of contracting, `iati` of projects, `spend` of monthly
lists of payments; `json` and `xml` read safely, `json` with the canonical form of RFC 8785. A document that cannot be
taken is refused with a `GuildbookError` whose fields say where: the file, the line, the path of the element, and why.
"""
