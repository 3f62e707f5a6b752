"""One module per peer: `run(files, chunk_events, threads, style) -> Outcome` and `version() -> str`."""
