"""A small workspace with fake models: the whole application in milliseconds, for tests of plug-ins.

Everything but the two models is real: database, indexes, Cedar policies, rules, router, audit log. It
holds three departments with an adapter version each, seven people and a handful of documents.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from assistant.adapters.manifest import CONFIG_FILE, WEIGHTS_FILE, Manifest, version_digest
from assistant.app import App, build
from assistant.config import load
from assistant.store.records import NewChunk, NewDocument, title_path
from assistant.testing.embedder import FakeEmbedder
from assistant.testing.engine import FakeEngine
from assistant.types import Document, Labels
from assistant.workspace import parts

if TYPE_CHECKING:
    from assistant.engine.base import Engine

SOURCE = "sample"
STYLES: Mapping[str, str] = {
    "hr": "Write warmly in the second person.",
    "legal": "Write formally in the third person.",
    "engineering": "Write tersely, with code names in backticks.",
}
_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "hr": ("How many days of leave do I have?", "How long is parental leave?", "What is the salary band?"),
    "legal": ("Who signs a contract?", "How long does the review of a contract take?", "Is there an NDA?"),
    "engineering": ("How is the gateway deployed?", "Which error code does the service return?", "Is it up?"),
}
_SETTINGS = """\
company: Example Company
routing: {min_confidence: 0.0}
serve: {max_body_bytes: 100000, max_messages: 8, max_question_tokens: 200}
"""
_PEOPLE = """\
people:
  ana: {department: hr}
  grete: {department: hr, groups: [managers]}
  dmitri: {department: legal, groups: [compliance]}
  bjorn: {department: engineering}
  farid: {department: engineering, groups: [managers, operators]}
  kim: {groups: [contractors]}
  "o'neill@example.org": {department: legal}
"""
_DOCUMENTS: tuple[tuple[str, str, Labels], ...] = (
    (
        "hr/leave.md",
        "Parental leave lasts 18 weeks and is paid in full. It is requested with form HR-12.\n\n"
        "Annual leave is 25 days a year.",
        Labels(source=SOURCE, principals=frozenset({"everyone"}), department="hr"),
    ),
    (
        "hr/managers/bands.md",
        "The salary band of a senior engineer runs from EUR 61,000 to EUR 78,000 in 2026.",
        Labels(
            source=SOURCE,
            principals=frozenset({"group:managers"}),
            department="hr",
            classification="restricted",
        ),
    ),
    (
        "legal/contracts.md",
        "A contract above EUR 50,000 is signed by the head of legal. The review of a contract takes 3 days.",
        Labels(source=SOURCE, principals=frozenset({"everyone"}), department="legal"),
    ),
    (
        "engineering/deploy.md",
        "The gateway is deployed with `make release` from the main branch. The service returns error code "
        "E-42 when the probe is silent.",
        Labels(source=SOURCE, principals=frozenset({"department:engineering"}), department="engineering"),
    ),
)


def workspace(folder: Path, *, engine: Engine | None = None, rules: str | None = None) -> App:
    """Write a workspace into a folder and return its application, with fakes for the models.

    Args:
        folder: new or empty.
        engine: another engine than the fake one.
        rules: a rule file in place of the sample company's.
    """
    engine = engine or FakeEngine()
    policies = folder / "policies"
    shutil.copytree(parts()["policies"], policies)
    (policies / "people.yaml").write_text(_PEOPLE, encoding="utf-8")
    if rules is not None:
        shutil.rmtree(policies / "rules")
        (policies / "rules").mkdir()
        (policies / "rules" / "rules.yaml").write_text(rules, encoding="utf-8")
    (folder / "assistant.yaml").write_text(_SETTINGS, encoding="utf-8")
    for department in STYLES:
        write_adapter(folder / "adapters" / department, department, engine)
    app = build(load(folder / "assistant.yaml"))
    vars(app).update(engine=engine, embedder=FakeEmbedder())  # cached properties, filled before first use
    for uri, text, labels in _DOCUMENTS:
        add(app, uri, text, labels)
    return app


def add(app: App, uri: str, text: str, labels: Labels, *, title: str | None = None) -> Document:
    """Store a document, one chunk a paragraph, as an ingest would; it is found by the next question."""
    title = title or Path(uri).stem.replace("-", " ").capitalize()
    pieces: list[NewChunk] = []
    start = 0
    for paragraph in text.split("\n\n"):
        end = start + len(paragraph)
        pieces.append(NewChunk(ordinal=len(pieces), text=paragraph, start=start, end=end))
        start = end + 2
    digest = hashlib.sha256(text.encode()).hexdigest()
    document = NewDocument(
        source=labels.source,
        uri=uri,
        title=title,
        media_type="text/markdown",
        content_digest=digest,
        fingerprint=digest[:16],
        size_bytes=len(text.encode()),
        labels=labels,
        text=text,
    )
    vectors = app.embedder.embed([f"{title_path(title, ())}\n{piece.text}" for piece in pieces])
    return app.documents.put(document, pieces, vectors, app.embedder.digest)


def write_adapter(folder: Path, department: str, engine: Engine) -> str:
    """Write a department with one adapter version, promoted to champion; return the version's digest."""
    fingerprint = engine.fingerprint
    weights = _no_tensors(department)
    config = json.dumps({"peft_type": "LORA", "r": 1, "target_modules": ["q_proj"]}).encode()
    made_of: dict[str, str] = {
        "weights_digest": hashlib.sha256(weights).hexdigest(),
        "config_digest": hashlib.sha256(config).hexdigest(),
        "base_digest": fingerprint.base_digest,
        "tokenizer_digest": fingerprint.tokenizer_digest,
        "template_digest": fingerprint.template_digest,
        "data_digest": hashlib.sha256(department.encode()).hexdigest(),
    }
    digest = version_digest(**made_of, recipe={})
    manifest = Manifest.model_validate(
        {
            **made_of,
            "department": department,
            "digest": digest,
            "base_name": "fake",
            "examples": 1,
            "recipe": {},
            "losses": (),
            "tokens": 0,
            "seconds": 0.0,
            "threads": 1,
            "dtype": "float32",
            "versions": {},
            "created_at": "2026-01-01T00:00:00+00:00",
        }
    )
    version = folder / "versions" / manifest.short
    version.mkdir(parents=True, exist_ok=True)
    (version / WEIGHTS_FILE).write_bytes(weights)
    (version / CONFIG_FILE).write_bytes(config)
    manifest.write(version)
    questions = json.dumps(
        _QUESTIONS.get(
            department, tuple(f"{word} does {department} say?" for word in ("What", "When", "Why"))
        )
    )
    (folder / "adapter.yaml").write_text(
        f"department: {department}\ndescription: Questions for {department}.\n"
        f"style: {json.dumps(STYLES.get(department, 'Write plainly.'))}\nexamples: {questions}\n",
        encoding="utf-8",
    )
    (folder / "aliases.yaml").write_text(f"champion: {digest}\n", encoding="utf-8")
    return digest


def _no_tensors(name: str) -> bytes:
    """Return a valid safetensors file that holds no tensor, another one for each name."""
    header = json.dumps({"__metadata__": {"department": name}}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header
