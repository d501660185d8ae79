"""How often all that an answer needs stands in what the model is given: eight reports, some 800 questions.

Ours goes through `chat.answer`, over all reports at once and without rules, to an engine that keeps its
prompt instead of answering: what is counted is what is served. Beside it LangChain's usual pipeline, in an
environment of its own (`make bench-baselines` makes one, or `BASELINES_PYTHON` names it). Both get the same
number of tokens of passages, counted by the base model's tokenizer, ours with their titles.

A question's tokens are looked for as they are written, but for case, spacing and the kinds of dashes and
quotes. Some stand nowhere in their report: `presence_text` is the share of questions that the whole text
would do for. `--quick` takes the smallest report.
"""

from __future__ import annotations

import ast
import asyncio
import csv
import json
import sys
import tempfile
import unicodedata
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from tokenizers import Tokenizer
from tqdm import tqdm

from assistant.app import App, build
from assistant.config import Prompt, load
from assistant.connectors.config import FilesSource
from assistant.connectors.files import Files
from assistant.engine.base import Delta, GenerateRequest
from assistant.models.pull import located
from assistant.testing.engine import FakeEngine
from assistant.types import Question, User
from benchmarks.cached import CachedEmbedder
from benchmarks.figures import ROOT, Figure, Options
from benchmarks.ingesting import child
from benchmarks.ingesting.ours import elsewhere

BUDGET, AIM = 1500, 0.85
DEPARTMENT = "hr"  # a question needs one; none of them decides what is found
_LIKE = str.maketrans("‘’“”‐‑–—", "''\"\"----")  # noqa: RUF001 - what nobody tells apart when typing
_YES_NO = {"yes", "no"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question about a report, and the tokens its answer needs."""

    report: str
    question: str
    tokens: tuple[str, ...]

    def answered_by(self, text: str) -> bool:
        """Whether a text holds every token."""
        plain = flat(text)
        return all(flat(token) in plain for token in self.tokens)


class Keeping(FakeEngine):
    """An engine that counts tokens as the base model does, and keeps the passages it is given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer, self.passages = tokenizer, ""

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of the base model."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Delta, None]:
        """Keep the passages of the prompt, and say nothing."""
        self.passages = request.messages[-1].content.rpartition("Question: ")[0]
        yield Delta(text="", finish="stop")


def run(options: Options) -> Iterator[Figure]:
    """Yield the share of questions whose tokens all stand in the passages: ours, LangChain's, the text's."""
    folder = options.data / "departments"
    asked = read(folder)
    if not asked:
        yield Figure(figure="presence", value=None, unit="share", skipped=f"{folder} holds no questions")
        return
    if options.quick:
        smallest = min(folder.glob("*/*.pdf"), key=lambda file: file.stat().st_size).parent.name
        asked = [each for each in asked if each.report == smallest]
    reports = sorted({each.report for each in asked})
    with tempfile.TemporaryDirectory() as name:
        app = workspace(Path(name), folder, reports, options.cache)
        given = asyncio.run(_given(app, asked))
        yield from _shares("presence", asked, given, aim=None if options.quick else AIM)
        texts = {document.uri.partition("/")[0]: document.id for document in app.documents.list()}
        texts = {report: app.documents.text(id) for report, id in texts.items()}
        yield from _shares("presence_text", asked, [texts.get(each.report, "") for each in asked])
        longest = max(app.engine.count_tokens(text) for text in given)
        asyncio.run(app.close())
    yield Figure(figure="presence_longest", value=longest, unit="tokens", at_most=BUDGET)
    if not (python := child.baselines()):
        yield Figure(figure="presence_langchain", value=None, unit="share", skipped=child.NO_BASELINES)
        return
    yield from _shares("presence_langchain", asked, _langchain(python, folder, reports, asked))


def read(folder: Path) -> list[Asked]:
    """Read the questions of all reports, but those that need no more than a yes or a no."""
    found = []
    for file in sorted(folder.glob("*/token_presence_*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                tokens = tuple(str(token) for token in ast.literal_eval(row["tokens_present"]))
                if {flat(token).strip(" .") for token in tokens} - _YES_NO:
                    found.append(Asked(report=file.parent.name, question=row["question"], tokens=tokens))
    return found


def flat(text: str) -> str:
    """Return a text without what no reader minds: case, spacing, kinds of dashes and quotes."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_LIKE).split())


def workspace(folder: Path, data: Path, reports: Sequence[str], cache: Path | None) -> App:
    """Build an application as it is shipped, but for rules and departments, and ingest the reports."""
    (folder / "policies" / "rules").mkdir(parents=True)
    (folder / "adapters" / DEPARTMENT).mkdir(parents=True)
    for name in ("policies/access.cedar", f"adapters/{DEPARTMENT}/adapter.yaml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    settings = elsewhere(folder).model_copy(update={"prompt": Prompt()})
    app = build(settings)
    tokenizer = Tokenizer.from_file(str(located(settings.models.base, settings) / "tokenizer.json"))
    app.__dict__["embedder"] = CachedEmbedder(app.embedder, cache)
    app.__dict__["engine"] = Keeping(tokenizer)
    source = FilesSource.model_validate(
        {
            "name": "reports",
            "url": str(data.resolve()),
            "include": [f"{report}/*.pdf" for report in reports],
            "default": {"access": ["everyone"]},
        }
    )
    for uri, reason in app.ingest(Files(source, workspace=folder)).refused:
        print(f"{uri}: {reason} None of its questions counts as answered.", file=sys.stderr)
    return app


async def _given(app: App, asked: Sequence[Asked]) -> list[str]:
    """Return the passages that the model is given for each question, titles included."""
    engine = app.engine
    assert isinstance(engine, Keeping)
    app.embedder.embed([each.question for each in asked])
    asker, given = User(id="someone"), []
    for each in tqdm(asked, leave=False, unit="question"):
        await app.chat.answer(Question(text=each.question, user=asker, department=DEPARTMENT))
        given.append(engine.passages)
    return given


def _langchain(python: Path, folder: Path, reports: Sequence[str], asked: Sequence[Asked]) -> list[str]:
    """Return the passages of LangChain's pipeline for each question."""
    settings = load(ROOT / "assistant.yaml")
    wanted = {
        "files": [str(file) for report in reports for file in sorted((folder / report).glob("*.pdf"))],
        "embedder": str(located(settings.models.embedder, settings)),
        "tokenizer": str(located(settings.models.base, settings)),
        "budget": BUDGET,
        "questions": [each.question for each in asked],
    }
    with tempfile.TemporaryDirectory() as name:
        asks, answers = Path(name) / "wanted.json", Path(name) / "passages.json"
        asks.write_text(json.dumps(wanted), encoding="utf-8")
        command = [str(python), "-m", "benchmarks.sides.with_langchain", str(asks), str(answers)]
        child.run_baseline(command, PYTHONPATH=str(ROOT))
        found: list[list[str]] = json.loads(answers.read_text(encoding="utf-8"))
    return ["\n\n".join(passages) for passages in found]


def _shares(
    name: str, asked: Sequence[Asked], given: Sequence[str], aim: float | None = None
) -> Iterator[Figure]:
    """Yield the share of all questions, and of each report's."""
    found = [each.answered_by(text) for each, text in zip(asked, given, strict=True)]
    yield Figure(figure=name, value=round(mean(found), 4), unit="share", aim=aim)
    for report in dict.fromkeys(each.report for each in asked):
        own = [whole for each, whole in zip(asked, found, strict=True) if each.report == report]
        yield Figure(figure=f"{name}_{report}", value=round(mean(own), 4), unit="share")
