"""Collections in BEIR's layout: reading one, and the gain of a ranking."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Documents by id as (title, text), queries by id, and the grade of each document that is relevant."""

    name: str
    documents: Mapping[str, tuple[str, str]]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]


def read(folder: Path) -> Collection:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`; queries without a judgement are left out."""
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    relevant: dict[str, dict[str, int]] = {}
    for query, document, grade in rows:
        if int(grade) > 0:
            relevant.setdefault(query, {})[document] = int(grade)
    return Collection(
        name=folder.name,
        documents={
            row["_id"]: (row.get("title") or "", row["text"]) for row in _rows(folder / "corpus.jsonl")
        },
        queries={
            row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl") if row["_id"] in relevant
        },
        relevant=relevant,
    )


def ndcg(ranking: Sequence[str], relevant: Mapping[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain of a ranking, gains 2^grade - 1 (Burges et al. 2005)."""
    ideal = _gain(sorted(relevant.values(), reverse=True)[:depth])
    return _gain([relevant.get(id, 0) for id in ranking[:depth]]) / ideal if ideal else 0.0


def _gain(grades: Iterable[int]) -> float:
    return float(sum((2**grade - 1) / np.log2(place + 2) for place, grade in enumerate(grades)))


def _rows(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
