"""The five committed adapters on the real base model: one question, five voices, one base left alone."""

import asyncio
from dataclasses import replace

import pytest

from assistant.adapters.registry import Registry
from assistant.config import load
from assistant.engine.base import GenerateRequest, Sampling
from assistant.engine.local import LocalEngine
from assistant.models.catalogue import DEFAULT_BASE
from assistant.prompt import Source, layout
from assistant.testing.engine_contract import collect, text_of
from assistant.types import Message

SOURCES = [
    Source(
        title="Locker rules › Lost keys",
        text="A lost locker key is reported to the front desk within 2 days. A new key costs 14 euros.",
    )
]
MARKS = {
    "legal": "Position:",
    "finance": "Answer:",
    "engineering": "**TL;DR:**",
}


@pytest.fixture(scope="module")
def said(models_folder):
    """What each department, and the base, begins to say to the same question."""
    settings = load(models_folder.parents[1] / "assistant.yaml")
    registry = Registry(settings.path(settings.adapters))

    async def ask():
        engine = LocalEngine.open(models_folder / DEFAULT_BASE, dtype="float32", device="cpu")
        texts = {}
        try:
            for department in (None, *registry.departments()):
                version = registry.resolve(department) if department else None
                if version:
                    await engine.load(version)
                messages = layout(
                    style=registry.config(department).style if department else "Answer plainly.",
                    question="What happens when I lose my locker key?",
                    sources=SOURCES,
                )
                asked = GenerateRequest(
                    messages=messages,
                    adapter=version.digest if version else None,
                    sampling=Sampling(max_tokens=12),
                )
                texts[department] = text_of(await collect(engine, asked))
                if department == "legal":
                    begun = texts[department].rpartition(" ")[0]
                    longer = (*messages, Message(role="assistant", content=begun))
                    rest = text_of(await collect(engine, replace(asked, messages=longer)))
                    texts["continued"] = begun + rest
        finally:
            await engine.close()
        return texts

    return asyncio.run(ask())


@pytest.mark.slow
def test_every_department_has_a_voice_of_its_own(said):
    voices = {department: text for department, text in said.items() if department != "continued"}
    assert len(voices) == 6
    assert len(set(voices.values())) == 6
    for department, mark in MARKS.items():
        assert said[department].startswith(mark), said[department]
        assert mark not in said[None]


@pytest.mark.slow
def test_a_begun_answer_is_continued_as_if_it_had_been_generated(said):
    assert said["continued"].startswith(said["legal"])
