"""How well chunks cut and found hold the passages that people marked, on five corpora.

Every side's chunks go into the same search. Ours are its first five; the others get as many as hold the
same number of tokens. Recall is the share of the marked tokens that stand in what was retrieved, precision
the share of what was retrieved that is marked, intersection over union both (Chroma's chunking evaluation,
2024, by token). `--quick` takes the three small corpora.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from assistant.config import Retrieval
from assistant.extraction.extracted import Block, Extracted
from assistant.retrieval.chunk import chunk
from assistant.store.documents import NewChunk
from assistant.types import Passage
from benchmarks.cached import CachedEmbedder
from benchmarks.figures import ROOT, Figure, Options
from benchmarks.shelf import Shelf
from benchmarks.splitters import fixed, recursive

TOP, MORE = 5, 30
SMALL = ("chatlogs", "state_of_the_union", "wikitexts")
Cut = Callable[[str], Sequence[NewChunk]]
Tokens = frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A question and the spans of its corpus that answer it."""

    question: str
    corpus: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Of one question: shares in [0, 1], and how many tokens were retrieved."""

    recall: float
    precision: float
    iou: float
    tokens: int


def run(options: Options) -> Iterator[Figure]:
    """Yield recall, precision and intersection over union of ours and of the other sides."""
    folder = options.data / "retrieval" / "chunking_spans"
    if not folder.is_dir():
        yield Figure(figure="token_recall_top5", value=None, unit="share", skipped=f"{folder} is not there")
        return
    texts, questions = read(folder, SMALL if options.quick else ())
    embedder = CachedEmbedder.minilm(options.cache)
    size = Retrieval().chunk_tokens
    places = {name: _Places(text) for name, text in texts.items()}
    ours = _side(texts, questions, places, embedder, lambda text: _ours(text, size, embedder), None)
    budgets = [score.tokens for score in ours]
    yield from _figures("", ours, bar=not options.quick)
    cuts: dict[str, Cut] = {
        "recursive": lambda text: recursive(text, size=size, count=embedder.count_tokens),
        "fixed": lambda text: fixed(text, size=size, count=embedder.count_tokens),
    }
    for name, cut in cuts.items():
        yield from _figures(f"_{name}", _side(texts, questions, places, embedder, cut, budgets), bar=False)


def read(folder: Path, only: Sequence[str]) -> tuple[dict[str, str], list[Marked]]:
    """Read the corpora, all or some, and their questions."""
    files = sorted((folder / "corpora").glob("*.md"))
    texts = {file.stem: file.read_bytes().decode("utf-8") for file in files if not only or file.stem in only}
    with (folder / "questions_df.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus_id"] in texts]
    return texts, [
        Marked(
            question=row["question"],
            corpus=row["corpus_id"],
            spans=tuple((r["start_index"], r["end_index"]) for r in json.loads(row["references"])),
        )
        for row in rows
    ]


class _Places:
    """Where the embedder's tokens stand in a text."""

    def __init__(self, text: str) -> None:
        tokenizer = Tokenizer.from_file(str(ROOT / "var/models/all-minilm-l6-v2/tokenizer.json"))
        tokenizer.no_truncation()
        self._starts = np.array(
            [start for start, _ in tokenizer.encode(text, add_special_tokens=False).offsets]
        )

    def tokens(self, spans: Sequence[tuple[int, int]]) -> Tokens:
        """Return the numbers of the tokens that begin within the spans."""
        ranges = (np.searchsorted(self._starts, span) for span in spans)
        return frozenset(number for start, end in ranges for number in range(int(start), int(end)))


def _side(
    texts: dict[str, str],
    questions: Sequence[Marked],
    places: dict[str, _Places],
    embedder: CachedEmbedder,
    cut: Cut,
    budgets: Sequence[int] | None,
) -> list[Score]:
    """Score every question; with budgets, as many passages as bring the retrieved tokens nearest to them."""
    scores = []
    with Shelf(embedder) as shelf:
        for name, text in texts.items():
            shelf.put(name, "", text, cut(text))
        for number, marked in enumerate(tqdm(questions, leave=False, unit="question")):
            passages = shelf.find(marked.question, MORE if budgets else TOP).passages
            if budgets:
                passages = _within(passages, budgets[number], places)
            scores.append(_score(marked, passages, places))
    return scores


def _within(passages: Sequence[Passage], budget: int, places: dict[str, _Places]) -> list[Passage]:
    """Return the first passages, as many as bring their tokens nearest to the budget."""
    kept: list[Passage] = []
    total = 0
    for passage in passages:
        own = len(_tokens([passage], passage.document.uri, places))
        if total + own / 2 > budget:
            break
        kept.append(passage)
        total += own
    return kept


def _tokens(passages: Sequence[Passage], corpus: str, places: dict[str, _Places]) -> Tokens:
    own = [(p.chunk.start, p.chunk.end) for p in passages if p.document.uri == corpus]
    return places[corpus].tokens(own)


def _score(marked: Marked, passages: Sequence[Passage], places: dict[str, _Places]) -> Score:
    gold = places[marked.corpus].tokens(marked.spans)
    found = _tokens(passages, marked.corpus, places)
    total = sum(len(_tokens(passages, corpus, places)) for corpus in places)
    both = len(gold & found)
    return Score(
        recall=both / len(gold),
        precision=both / max(1, total),
        iou=both / max(1, len(gold) + total - both),
        tokens=total,
    )


def _ours(text: str, size: int, embedder: CachedEmbedder) -> Sequence[NewChunk]:
    return chunk(_structured(text), max_tokens=size, count=embedder.count_tokens)


def _structured(text: str) -> Extracted:
    """Return the text with a block for each paragraph: the marks count in the file as it is."""
    blocks, at = [], 0
    for part in text.split("\n\n"):
        if part.strip():
            start = at + len(part) - len(part.lstrip())
            blocks.append(Block(kind="paragraph", start=start, end=at + len(part.rstrip())))
        at += len(part) + 2
    return Extracted(text=text, title="", media_type="text/plain", blocks=tuple(blocks))


def _figures(side: str, scores: Sequence[Score], *, bar: bool) -> Iterator[Figure]:
    recall = round(float(np.mean([score.recall for score in scores])), 4)
    yield Figure(figure=f"token_recall_top5{side}", value=recall, unit="share", at_least=0.8 if bar else None)
    for name in ("precision", "iou", "tokens"):
        value = round(float(np.mean([getattr(score, name) for score in scores])), 4)
        yield Figure(figure=f"{name}_top5{side}", value=value, unit="tokens" if name == "tokens" else "share")
