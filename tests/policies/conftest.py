"""Passages, facts and rules for tests."""

import pytest

from assistant.policies.rules import Facts
from assistant.policies.schema import Rule
from assistant.types import AccessClass, Chunk, Document, Labels, Passage, User


def passage(text, *, title="Guide", before="Preface. ", number=1, department=None, classification="internal"):
    labels = Labels(
        source="docs",
        principals=frozenset({"everyone"}),
        department=department,
        classification=classification,
    )
    document = Document(
        id=f"d{number}",
        source="docs",
        uri=f"{number}.md",
        title=title,
        media_type="text/markdown",
        content_digest="",
        size_bytes=0,
        access_class=AccessClass(id=1, labels=labels),
    )
    chunk = Chunk(
        id=number,
        document_id=document.id,
        ordinal=0,
        text=text,
        start=len(before),
        end=len(before) + len(text),
    )
    return Passage(chunk=chunk, document=document, score=1.0, similarity=0.9, coverage=0.9)


def rule(id, kind, **given):
    check = {
        key: given.pop(key)
        for key in ("support", "once", "hosts", "phrases", "evidence", "action")
        if key in given
    }
    case = {"name": "none", "expect": "nothing"}
    fields = {
        "id": id,
        "version": 1,
        "check": {"kind": kind, **check},
        "text": f"{id} says so.",
        "cases": [case],
    }
    return Rule.model_validate({**fields, **given})


def facts(*texts, question="How long?", user=None, department=None):
    passages = tuple(
        text if isinstance(text, Passage) else passage(text, number=number)
        for number, text in enumerate(texts, 1)
    )
    return Facts(question=question, user=user or User(id="ana"), department=department, passages=passages)


@pytest.fixture(scope="session")
def new_passage():
    return passage


@pytest.fixture(scope="session")
def new_rule():
    return rule


@pytest.fixture(scope="session")
def new_facts():
    return facts
