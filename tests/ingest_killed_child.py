"""Ingests in processes of their own, to be killed: one for each line (a workspace) of standard input.

What takes long to import is imported once, before the processes part.
"""

import os
import sys
import time
from pathlib import Path

from assistant import ingest
from assistant.config import Settings
from assistant.connectors.config import FilesSource
from assistant.connectors.files import Files
from assistant.extraction.extract import Extractor
from assistant.store.database import Database
from assistant.store.documents import Documents
from assistant.testing.embedder import FakeEmbedder


def main(folder, pause_s=0.02):
    """Ingest `folder`/docs, and print the name of each document once it is acknowledged."""
    embedder = FakeEmbedder()

    def embed(texts):
        time.sleep(pause_s)  # room for a kill between reading and writing
        return embedder.embed(texts)

    def acknowledge(step):
        sys.stdout.write(f"{step.outcome} {step.uri}\n")
        sys.stdout.flush()

    database = Database.open(f"sqlite:///{folder}/var/assistant.db")
    database.migrate()
    source = FilesSource.model_validate({"name": "docs", "url": "docs", "default": {"access": ["everyone"]}})
    with Extractor() as extractor:
        sys.stdout.write(f"ready {os.getpid()}\n")
        sys.stdout.flush()
        summary = ingest.run(
            Files(source, workspace=folder),
            documents=Documents(database),
            extractor=extractor,
            embed=embed,
            count=embedder.count_tokens,
            longest=embedder.max_tokens,
            embedder=embedder.digest,
            settings=Settings(workspace=folder),
            progress=acknowledge,
        )
    database.close()
    return summary


def serve():
    """Fork an ingest for each line, and say when it has ended."""
    import alembic.command  # noqa: F401 - before the fork

    for line in sys.stdin:
        child = os.fork()
        if not child:
            main(Path(line.strip()))
            os._exit(0)
        os.waitpid(child, 0)
        sys.stdout.write("ended\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
