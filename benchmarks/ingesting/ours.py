"""Our side, in a process of its own: `python -m benchmarks.ingesting.ours FOLDER WORKSPACE [--fake]`.

It ingests FOLDER into a fresh database, brings the indexes up, ingests again, and then embeds some of the
same chunks bare. Time counts from a loaded model to indexes that can be searched. `--fake` uses the public
fake embedder and measures the pipeline alone, without indexes, which hold every vector.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np

from assistant.app import App, build
from assistant.config import Settings, load
from assistant.connectors.config import FilesSource
from assistant.connectors.files import Files
from assistant.models.pull import located
from assistant.store.records import IndexedChunk
from assistant.testing.embedder import FakeEmbedder

ROOT = Path(__file__).parents[2]
_COMPARED = 32
_BARE = 2_000


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--fake", action="store_true")
    args = parser.parse_args()
    app = _app(args.workspace, fake=args.fake)
    source = FilesSource.model_validate(
        {"name": "bench", "url": str(args.folder), "default": {"access": ["everyone"]}}
    )
    connector = Files(source, workspace=args.workspace)
    app.embedder.embed(["warm"])
    start, used = time.perf_counter(), _used_s()
    first = app.ingest(connector)
    if not args.fake:
        app.search.catch_up()
    seconds, used = time.perf_counter() - start, _used_s() - used
    start = time.perf_counter()
    second = app.ingest(connector)
    again = time.perf_counter() - start
    said = {
        "seconds": seconds,
        "cpu_s": used,
        "documents": first.added,
        "refused": len(first.refused),
        "chunks": first.chunks,
        "second_s": again,
        "second_chunks": second.chunks,
    }
    if not args.fake:
        said |= _bare(app)
    print(json.dumps(said))


def _used_s() -> float:
    """Processor time of this process and of those it has waited for: the extraction's have ended."""
    return sum(os.times()[:4])


def elsewhere(workspace: Path) -> Settings:
    """Return the configuration as it is shipped for another workspace, with the models that are here."""
    settings = load(ROOT / "assistant.yaml")
    models = settings.models.model_copy(update={"folder": settings.path(settings.models.folder)})
    return settings.model_copy(
        update={"workspace": workspace, "models": models, "database": "sqlite:///assistant.db"}
    )


def _app(workspace: Path, *, fake: bool) -> App:
    app = build(elsewhere(workspace))
    if fake:
        app.__dict__["embedder"] = FakeEmbedder()
    return app


def _bare(app: App) -> dict[str, Any]:
    """Embed all chunks again with nothing beside, and compare some vectors with float32 of transformers."""
    chunks: list[IndexedChunk] = []
    number = 0
    while (found := app.documents.changes(number, app.embedder.digest)).number > number:
        chunks += found.upserted
        number = found.number
    texts = [f"{chunk.headings_text}\n{chunk.text}" for chunk in chunks]
    counts = [app.embedder.count_tokens(text) + 2 for text in texts]
    tokens = [min(count, app.embedder.max_tokens + 2) for count in counts]
    picked = random.Random(1).sample(range(len(texts)), min(_BARE, len(texts)))
    start = time.perf_counter()
    app.embedder.embed([texts[number] for number in picked])
    rate = sum(tokens[number] for number in picked) / (time.perf_counter() - start)
    some = range(0, len(texts), max(1, len(texts) // _COMPARED))
    reference = _reference(app, [texts[number] for number in some])
    stored = np.stack([chunks[number].vector for number in some]).astype(np.float32)
    return {
        "tokens": sum(tokens),
        "longest": max(counts),
        "bare_rate": rate,
        "matmul_share": rate * _flop_per_token(app, sum(tokens) / len(tokens)) / _matmul_rate(app),
        "cosine": float((stored * reference).sum(1).min()),
        "way": str(app.embedder.speed),
    }


def _flop_per_token(app: App, length: float) -> float:
    """Floating-point operations of one token's products in a text of `length` tokens (BERT-shaped)."""
    folder = located(app.settings.models.embedder, app.settings)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    width, inner, layers = (
        config[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    return float(layers * (8 * width * width + 4 * width * inner + 4 * width * length))


def _matmul_rate(app: App) -> float:
    """Operations a second of one product of the embedder's dtype, on all its workers at once."""
    import torch

    from assistant.retrieval.workers import Workers

    dtype = getattr(torch, app.embedder.speed.dtype)
    count = app.embedder.speed.workers
    one, other = torch.randn(512, 384).to(dtype), torch.randn(384, 1536).to(dtype)

    def work(_: int) -> float:
        with torch.inference_mode():
            start = time.perf_counter()
            for _ in range(200):
                one @ other
            return 200 * 2 * 512 * 384 * 1536 / (time.perf_counter() - start)

    workers = Workers(count)
    try:
        return max(sum(workers.map(work, range(count))) for _ in range(3))
    finally:
        workers.close()


def _reference(app: App, texts: list[str]) -> Any:  # noqa: ANN401 - an array
    """Embed as transformers and sentence-transformers do, in float32 on padded rows."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    from assistant.retrieval.encoder import Padded
    from assistant.retrieval.pooling import pooling

    folder = located(app.settings.models.embedder, app.settings)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(app.embedder.max_tokens + 2)
    encoder = Padded(
        AutoModel.from_pretrained(folder, local_files_only=True),
        pooling(folder),
        dtype=torch.float32,
        device="cpu",
    )
    torch.set_num_threads(1)
    with torch.inference_mode():
        rows = torch.cat([encoder([tokenizer.encode(text).ids]) for text in texts])
    return torch.nn.functional.normalize(rows, dim=1).numpy()


if __name__ == "__main__":
    main()
