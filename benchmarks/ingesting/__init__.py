"""Parts of the ingest benchmark: the corpus, our side, the other frameworks' sides, measured processes."""
