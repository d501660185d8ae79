"""A serving process over a workspace that exists, with the public fakes for models; run as a module.

`python -m benchmarks.parts.served FOLDER` prints its address and serves until its standard input closes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a workspace in a process of its own while the block runs; yield its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin and process.stdout
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), "the server did not start"
        yield address
    finally:
        process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        process.stdout.close()


def main(folder: Path) -> None:
    """Serve until nobody wants it any more."""
    from assistant.app import build
    from assistant.config import load
    from assistant.testing.embedder import FakeEmbedder
    from assistant.testing.engine import FakeEngine
    from assistant.testing.serving import serving

    app = build(load(folder / "assistant.yaml"))
    vars(app).update(engine=FakeEngine(), embedder=FakeEmbedder())
    with serving(app) as address:
        print(address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
