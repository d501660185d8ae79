"""LangChain's usual pipeline, run by the Python of its own environment: passages for questions.

`python -m benchmarks.sides.with_langchain WANTED PASSAGES`: PyPDFLoader, a recursive splitter of a thousand
characters with an overlap of two hundred, as its guides have it, HuggingFaceEmbeddings, FAISS. WANTED names
files, models, questions and the budget; PASSAGES gets, for each question, the best that the budget holds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.ingesting.baseline import LangChain, counter

CHARACTERS, OVERLAP = 1000, 200
FETCHED = 60


def main() -> None:
    """Write the passages of every question; a passage that does not fit is left out."""
    wanted = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    side, count = LangChain(wanted["embedder"], len), counter(wanted["tokenizer"])
    chunks, _ = side.split(side.load([Path(file) for file in wanted["files"]]), CHARACTERS, OVERLAP)
    store = side.index(chunks)
    found = []
    for question in wanted["questions"]:
        kept, left = [], wanted["budget"]
        for document in store.similarity_search(question, k=FETCHED):
            tokens = count(document.page_content)
            if tokens <= left:
                kept.append(document.page_content)
                left -= tokens
        found.append(kept)
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")
    print(json.dumps({"chunks": len(chunks), "questions": len(found)}))


if __name__ == "__main__":
    main()
