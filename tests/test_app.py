"""What `app` chooses: an HTTP engine knows which base its adapters must have been trained on."""

import asyncio
import shutil
from pathlib import Path

import pytest
import yaml

from assistant.app import build
from assistant.config import load
from assistant.connectors.config import FilesSource
from assistant.connectors.files import Files
from assistant.errors import AdapterError, ConfigError, ModelError
from assistant.models.catalogue import pin_of
from assistant.models.digests import weights_digest
from assistant.models.pull import pull
from assistant.testing.cross_encoder import tiny_cross_encoder
from assistant.testing.workspace import workspace
from assistant.types import Question
from assistant.workspace import init


def test_a_server_gets_only_adapters_of_the_configured_base(tmp_path):
    init(tmp_path / "company")
    file = tmp_path / "company" / "assistant.yaml"
    text = file.read_text()
    served = text.replace("kind: local ", "kind: http\n  url: http://127.0.0.1:9\n  model: base\n ")
    assert served != text
    file.write_text(served.replace("smollm2-135m-instruct", "qwen2.5-coder-1.5b-instruct"))
    app = build(load(file))

    async def load_champion():
        try:
            await app.engine.load(app.adapters.resolve("hr"))
        finally:
            await app.close()

    with pytest.raises(AdapterError, match="base"):
        asyncio.run(load_champion())


def configured(app, **sections):
    """Build the application of the same workspace with other settings."""
    file = app.settings.workspace / "assistant.yaml"
    file.write_text(yaml.safe_dump(sections))
    app.database.close()
    again = build(load(file))
    vars(again).update(engine=app.engine, embedder=app.embedder)
    return again


def test_a_cross_encoder_is_pulled_by_its_pin_used_and_recorded(tmp_path):
    app = workspace(tmp_path / "workspace")
    files = tiny_cross_encoder(tmp_path / "published")
    pin = {
        "kind": "cross-encoder",
        "sha256": weights_digest(sorted(files.glob("*.safetensors"))),
        "sources": [{"path": str(files)}],
    }
    named = configured(
        app, retrieval={"reranker": "tiny", "reranked": 3}, models={"catalogue": {"tiny": pin}}
    )
    with pytest.raises(ModelError, match="`tiny` is not in"):
        _ = named.search
    settings = named.settings
    pull("tiny", pin_of("tiny", settings.models), settings.path(settings.models.folder))
    asked = Question(text="How long is parental leave?", user=named.people.user("ana"))
    found = named.chat.find(asked, 5).ranked
    assert found[0].reason.startswith("cross-encoder 0.") and found[0].passage.score > 1
    answer = asyncio.run(named.chat.answer(asked))
    (entry, *_) = named.log.of(answer.receipt.id)
    assert entry.attributes["assistant.reranker.digest"] == named.reranker.digest
    wrong = configured(named, retrieval={"reranker": "all-minilm-l6-v2"})
    with pytest.raises(ConfigError, match="kind embedder"):
        _ = wrong.search
    unknown = configured(wrong, retrieval={"reranker": "nobody"})
    with pytest.raises(ConfigError, match="no model pin named `nobody`"):
        _ = unknown.search


PLUG_IN = """
from assistant.extraction.extracted import Builder

class Recognition:
    def read(self, data, uri):
        builder = Builder()
        builder.add("paragraph", f"recognised {len(data)} bytes", page=1)
        return builder.build(title="Scan", media_type="application/pdf")
"""


def test_a_plug_in_that_configuration_names_reads_what_the_built_in_reader_could_not(tmp_path, monkeypatch):
    package = tmp_path / "site"
    (package / "scans-1.dist-info").mkdir(parents=True)
    (package / "scans.py").write_text(PLUG_IN)
    (package / "scans-1.dist-info" / "METADATA").write_text("Name: scans\nVersion: 1\n")
    (package / "scans-1.dist-info" / "entry_points.txt").write_text(
        "[assistant.extractors]\nmy-ocr = scans:Recognition\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package))
    app = workspace(tmp_path / "workspace")
    docs = app.settings.workspace / "docs"
    docs.mkdir()
    for name in ("scan.pdf", "half_scanned.pdf"):
        shutil.copy(Path(__file__).parent / "data" / name, docs)
    (docs / "note.md").write_text("The canteen opens at noon.")
    source = FilesSource.model_validate({"name": "docs", "url": "docs", "default": {"access": ["everyone"]}})
    files = Files(source, workspace=app.settings.workspace)
    summary = app.ingest(files)
    assert (summary.added, [uri for uri, _ in summary.refused]) == (2, ["scan.pdf"])
    assert "`extraction.readers`" in summary.refused[0][1] + summary.notices[0][1]
    named = configured(app, extraction={"readers": {".PDF": "my-ocr"}})
    summary = named.ingest(files)
    assert (summary.added, summary.changed, summary.unchanged, summary.refused) == (1, 1, 1, ())
    for name in ("scan.pdf", "half_scanned.pdf"):
        assert named.documents.text(named.documents.find("docs", name).id).startswith("recognised ")
    assert named.ingest(files).unchanged == 3
    named.database.close()
