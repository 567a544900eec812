"""HTTP: routes derived from contracts, OpenAPI, the event stream, and problem documents."""
