"""The whole of it on real weights: documents in, a question over HTTP, an answer with its receipt out."""

from __future__ import annotations

import shutil
from pathlib import Path

import openai
import pytest

from assistant.app import build
from assistant.config import load
from assistant.connectors.config import load_source
from assistant.connectors.files import Files
from assistant.testing.serving import serving
from assistant.workspace import init

QUESTION = "How many weeks of paid parental leave does the birth parent get?"
SECRET = "What is the maximum salary in band T5 for team leads this year?"
KEPT = ("parental-leave-policy-2024.md", "parental-leave-policy-2026.md", "managers")


@pytest.fixture(scope="module")
def served(tmp_path_factory, models_folder):
    folder = tmp_path_factory.mktemp("real") / "company"
    init(folder)
    (folder / "var").mkdir()
    (folder / "var" / "models").symlink_to(models_folder)
    for path in (folder / "docs").iterdir():
        if path.name != "hr":
            shutil.rmtree(path)
    for path in (folder / "docs" / "hr").iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    app = build(load(folder / "assistant.yaml"))
    summary = app.ingest(Files(load_source(folder / "connectors" / "company.yaml"), workspace=folder))
    assert summary.added == 4 and not summary.refused
    with serving(app) as url:
        yield app, f"{url}/v1"


def client(served, user: str) -> openai.OpenAI:
    app, url = served
    return openai.OpenAI(base_url=url, api_key=app.keys.create(kind="user", name=user, user_id=user)[1])


@pytest.mark.slow
def test_an_answer_is_cited_and_its_receipt_verifies(served):
    app, _ = served
    with client(served, "elif") as api:
        whole = api.chat.completions.create(
            model="assistant/hr", messages=[{"role": "user", "content": QUESTION}], max_tokens=24
        )
    extension = whole.model_extra["assistant"]
    assert "18 weeks" in whole.choices[0].message.content
    assert extension["status"] == "answered"
    assert extension["route"]["adapter"] == app.adapters.aliases("hr")["champion"]
    for citation in extension["citations"]:
        assert citation["uri"] == "hr/parental-leave-policy-2026.md"
        text = app.documents.text(citation["document_id"])
        assert text[citation["start"] : citation["end"]] == citation["quote"]
    kinds = [entry.kind for entry in app.log.of(extension["receipt"]["id"])]
    assert kinds == ["question.opened", "answer.closed"]
    assert app.verify().holds


@pytest.mark.slow
def test_the_same_words_are_answered_for_one_and_not_for_another(served):
    def ask(user):
        asked = [{"role": "user", "content": SECRET}]
        with client(served, user) as api:
            return list(
                api.chat.completions.create(model="assistant", messages=asked, max_tokens=24, stream=True)
            )

    texts, statuses = {}, {}
    for user in ("grete", "elif"):
        chunks = ask(user)
        texts[user] = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        statuses[user] = chunks[-1].model_extra["assistant"]["status"]
    assert statuses == {"grete": "answered", "elif": "abstained"}
    figures = [word for word in texts["grete"].replace(",", "").split() if word.strip(".|").isdigit()]
    assert figures and not any(figure in texts["elif"] for figure in figures)


def test_committed_adapters_belong_to_the_configured_base():
    from assistant.adapters.registry import Registry
    from assistant.models.catalogue import pin_of

    root = Path(__file__).parents[1]
    settings = load(root / "assistant.yaml")
    base = pin_of(settings.models.base, settings.models).sha256
    registry = Registry(root / "adapters")
    for department in registry.departments():
        version = registry.resolve(department)
        assert version.base_digest == base
        assert version.size_bytes <= 5_000_000
