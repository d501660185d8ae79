"""The sample company's question file through the whole pipeline, on real weights.

Half of the questions, chosen by hash, is for tuning; figures are of the other half (`--quick`: six of one
department, over its documents only, too few to judge by). Each question goes
through `chat.answer` as its asker, in a fresh database; what was retrieved is read from the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from assistant.adapters import curate
from assistant.app import App, build
from assistant.config import load
from assistant.connectors.config import FilesSource, load_source
from assistant.connectors.files import Files
from assistant.types import Answer, Question
from assistant.words import without_markers
from benchmarks.figures import Figure, Options
from benchmarks.voices import Voices

ROOT = Path(__file__).parents[1]
QUICK, QUICK_DEPARTMENT = 6, "hr"
Half = Literal["tuning", "unseen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One line of the question file."""

    id: str
    question: str
    user: str
    department: str
    documents: tuple[str, ...]
    tokens: tuple[str, ...]
    kind: Literal["answerable", "unanswerable", "forbidden"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A question, its answer, and the documents that were retrieved for it, best first."""

    asked: Asked
    answer: Answer
    retrieved: tuple[str, ...]
    leaked: tuple[str, ...]
    seconds: float


def run(options: Options) -> Iterator[Figure]:
    """Yield the figures of the unseen half."""
    questions = half("unseen", read(ROOT / "examples" / "questions.jsonl"))
    if options.quick:
        own = [asked for asked in questions if asked.department == QUICK_DEPARTMENT]
        questions = own[:: max(1, len(own) // QUICK)][:QUICK]
    with tempfile.TemporaryDirectory() as folder:
        app = workspace(Path(folder), under=QUICK_DEPARTMENT if options.quick else "")
        yield from figures(asyncio.run(ask(app, questions)), app)


def read(file: Path) -> list[Asked]:
    """Read the question file."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Asked(
            id=row["id"],
            question=row["question"],
            user=row["as"],
            department=row["department"],
            documents=tuple(row["documents"]),
            tokens=tuple(row["tokens"]),
            kind=row["kind"],
        )
        for row in rows
    ]


def half(which: Half, questions: Sequence[Asked]) -> list[Asked]:
    """Return the half of the questions whose hash is even (tuning) or odd (unseen)."""
    odd = which == "unseen"
    return [q for q in questions if hashlib.sha256(q.question.encode()).digest()[0] % 2 == odd]


def workspace(folder: Path, *, under: str = "") -> App:
    """Build the sample company over a fresh database and ingest its documents, or those of one folder."""
    settings = load(ROOT / "assistant.yaml")
    fresh = {
        "database": f"sqlite:///{folder}/assistant.db",
        "indexes": folder / "indexes",
        "audit": settings.audit.model_copy(update={"folder": folder / "audit"}),
    }
    app = build(settings.model_copy(update=fresh))
    source = load_source(ROOT / "connectors" / "company.yaml")
    assert isinstance(source, FilesSource)
    app.ingest(Files(source, workspace=ROOT, under=under), under=under)
    app.warm()
    return app


async def ask(app: App, questions: Sequence[Asked]) -> list[Result]:
    """Ask every question as its asker, one after another, and close the application."""
    results = [await _ask(app, asked) for asked in tqdm(questions, unit="question", leave=False)]
    await app.close()
    return results


async def _ask(app: App, asked: Asked) -> Result:
    user = app.people.user(asked.user)
    start = time.perf_counter()
    answer = await app.chat.answer(Question(text=asked.question, user=user))
    seconds = time.perf_counter() - start
    recorded = app.log.of(answer.receipt.id)[-1].passages
    leaked = []
    for passage in recorded:
        document = app.documents.get(passage.document_id)
        labels = document.access_class.labels if document else None
        if labels is None or labels.principals.isdisjoint(user.principals):
            leaked.append(passage.uri)
    return Result(
        asked=asked,
        answer=answer,
        retrieved=tuple(passage.uri for passage in recorded),
        leaked=tuple(leaked),
        seconds=seconds,
    )


def figures(results: Sequence[Result], app: App) -> Iterator[Figure]:
    """Yield the figures of a list of results."""
    answerable = [r for r in results if r.asked.kind == "answerable"]
    others = [r for r in results if r.asked.kind != "answerable"]
    routed = [r for r in results if _may_ask(app, r)]
    found = [r for r in answerable if set(r.asked.documents) & set(r.retrieved)]
    answered = [r for r in answerable if r.answer.status == "answered"]
    right = [r for r in answered if holds(r.answer.text, r.asked.tokens)]
    abstained = [r for r in others if r.answer.status == "abstained"]
    leaks = sum(len(r.leaked) for r in results) + sum(
        r.asked.kind == "forbidden" and bool(set(r.asked.documents) & set(r.retrieved)) for r in results
    )
    right_route = [r for r in routed if r.answer.route.department == r.asked.department]
    yield Figure(figure="questions", value=len(results), unit="count")
    yield Figure(figure="route_accuracy", value=_share(right_route, routed), unit="share", at_least=0.9)
    yield Figure(
        figure="expected_document_found", value=_share(found, answerable), unit="share", at_least=0.9
    )
    yield Figure(figure="permission_leaks", value=leaks, unit="count", at_most=0)
    yield Figure(figure="abstention", value=_share(abstained, others), unit="share", at_least=0.8)
    yield Figure(
        figure="false_abstention",
        value=round(1 - _share(answered, answerable), 4),
        unit="share",
        at_most=0.15,
    )
    yield Figure(figure="expected_tokens", value=_share(right, answerable), unit="share", aim=0.6)
    yield Figure(figure="expected_tokens_of_answered", value=_share(right, answered), unit="share")
    yield Figure(
        figure="department_from_voice", value=voice_accuracy(results, app), unit="share", at_least=0.9
    )
    times = sorted(r.seconds for r in results)
    yield Figure(figure="answer_median", value=round(times[len(times) // 2], 2), unit="s")


def voice_accuracy(results: Sequence[Result], app: App) -> float:
    """Share of generated answers whose department a classifier of the training answers names.

    What a rule added below an answer is removed first, it would give the department away, and so is what
    the answer quotes word for word: that is the documents' voice.
    """
    examples = {d: curate.read(app.adapters.train_file(d)).examples for d in app.adapters.departments()}
    voices = Voices.fit({d: [example.answer for example in own] for d, own in examples.items()})
    added = [rule.text for rule in app.rules.rules if rule.text]
    spoken = [
        (r.answer.route.department, _without(r.answer.text, [*added, *_quoted(r.answer)]))
        for r in results
        if r.answer.status == "answered" and r.answer.route.department and r.answer.route.adapter
    ]
    return _share([1 for department, text in spoken if voices.name(text) == department], spoken)


def holds(text: str, tokens: Sequence[str]) -> bool:
    """Whether a text holds every token, any one of its `|`-separated alternatives; case and spacing aside."""
    flat = " ".join(text.lower().split())
    return all(any(choice.lower() in flat for choice in token.split("|")) for token in tokens)


def _may_ask(app: App, result: Result) -> bool:
    user = app.people.user(result.asked.user)
    return app.access.may_ask(user, result.asked.department).action == "allow"


def _quoted(answer: Answer) -> list[str]:
    """Return what an answer may repeat word for word: cited sentences, without list markers and full stop."""
    return [without_markers(citation.quote).rstrip(".") for citation in answer.citations]


def _without(text: str, added: Sequence[str]) -> str:
    for each in added:
        text = text.replace(each, "")
    return text


def _share(some: Sequence[object], of: Sequence[object]) -> float:
    return round(len(some) / len(of), 4) if of else 0.0
