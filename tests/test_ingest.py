"""One ingest: what is added, changed, kept, removed, refused."""

import io
import os
import shutil
import zipfile

import numpy as np
import pytest
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from assistant import ingest
from assistant.config import Settings
from assistant.connectors.config import FilesSource
from assistant.connectors.files import Files
from assistant.connectors.langchain import LangChainConnector
from assistant.errors import ConfigError, IngestError, SourceBusy
from assistant.extraction.decode import spoken
from assistant.extraction.extract import Extracted, Extractor, Limits, Member
from assistant.store.database import Database
from assistant.store.documents import Documents
from assistant.testing.embedder import FakeEmbedder
from assistant.types import Labels


@pytest.fixture(scope="module")
def extractor():
    with Extractor(workers=2, limits=Limits(timeout_s=20)) as extractor:
        yield extractor


class World:
    """A workspace with a folder of documents, and a count of what was embedded."""

    def __init__(self, folder, extractor):
        self.settings = Settings(workspace=folder)
        self.docs = folder / "docs"
        self.docs.mkdir()
        self.database = Database.open(f"sqlite:///{folder}/var/assistant.db")
        self.database.migrate()
        self.documents = Documents(self.database)
        self.extractor = extractor
        self.embedder = FakeEmbedder()
        self.embedded = []
        self.labels = {"default": {"access": ["everyone"]}}

    def write(self, uri, text):
        file = self.docs / uri
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def files(self, **more):
        source = FilesSource.model_validate({"name": "docs", "url": "docs", **self.labels})
        return Files(source, workspace=self.docs.parent, **more)

    def embed(self, texts):
        self.embedded += texts
        return self.embedder.embed(texts)

    def run(self, connector=None, **more):
        self.embedded.clear()
        return ingest.run(
            connector or self.files(),
            **{
                "documents": self.documents,
                "extractor": self.extractor,
                "embed": self.embed,
                "count": self.embedder.count_tokens,
                "longest": self.embedder.max_tokens,
                "embedder": self.embedder.digest,
                "settings": self.settings,
                "readers": 2,
                **more,
            },
        )

    def counts(self, connector=None, **more):
        summary = self.run(connector, **more)
        names = ("added", "changed", "unchanged", "relabelled", "removed", "renamed")
        found = {name: getattr(summary, name) for name in names if getattr(summary, name)}
        return found | ({"refused": [uri for uri, _ in summary.refused]} if summary.refused else {})


@pytest.fixture
def world(tmp_path, extractor):
    world = World(tmp_path, extractor)
    world.write("hr/leave.md", "---\ntitle: Leave\n---\n# Leave\n\n## Parental\n\nParents get 18 weeks.")
    world.write("travel.html", "<title>Travel</title><h1>Travel</h1><p>Hotels cost 90.</p>")
    yield world
    world.database.close()


def test_documents_are_stored_with_chunks_offsets_and_vectors(world):
    summary = world.run()
    assert (summary.added, summary.chunks, summary.refused) == (2, 2, ())
    document = world.documents.find("docs", "hr/leave.md")
    assert document.title == "Leave" and document.media_type == "text/markdown"
    changes = world.documents.changes(0, world.embedder.digest)
    everyone = frozenset(known.id for known in world.documents.classes())
    living = world.documents.readable(everyone).chunks([chunk.id for chunk in changes.upserted])
    for chunk, owner in living.values():
        assert world.documents.text(owner.id)[chunk.start : chunk.end] == chunk.text
    assert "Leave › Parental\nParents get 18 weeks." in world.embedded
    vector = next(c.vector for c in changes.upserted if "Parents" in c.text)
    expected = world.embedder.embed(["Leave › Parental\nParents get 18 weeks."])[0]
    assert np.allclose(vector, expected, atol=1e-3)


def test_nothing_is_embedded_that_is_longer_than_the_embedder_takes(world):
    long = " ".join(["word"] * 300)
    row = "|".join(f" {long[:400]} " for _ in range(8))
    rows = f"|{'|'.join(f' Column {n} ' for n in range(8))}|\n|{'---|' * 8}\n|{row}|"
    headings = "\n\n".join(f"{'#' * depth} {long[:200]}" for depth in range(1, 7))
    world.write("long.md", f"---\ntitle: {long}\n---\n{headings}\n\n{rows}\n\n# {long}\n\nShort. {long}")
    assert world.counts() == {"added": 3}
    assert max(map(world.embedder.count_tokens, world.embedded)) <= world.embedder.max_tokens
    document = world.documents.find("docs", "long.md")
    assert document.title.endswith("word…")
    assert world.documents.text(document.id).count("word") == " ".join([headings, rows, long, long]).count(
        "word"
    )


def test_what_did_not_change_is_not_embedded_again(world):
    world.run()
    number = world.documents.change_number()
    assert world.counts() == {"unchanged": 2} and not world.embedded
    os.utime(world.docs / "travel.html", ns=(5, 5))
    assert world.counts() == {"unchanged": 2} and not world.embedded
    assert world.documents.change_number() == number


def test_what_changed_is_replaced(world):
    world.run()
    world.write("travel.html", "<title>Travel</title><p>Hotels cost 120.</p>")
    assert world.counts() == {"changed": 1, "unchanged": 1}
    changes = world.documents.changes(0, world.embedder.digest)
    assert [c.text for c in changes.upserted if "Hotels" in c.text] == ["Hotels cost 120."]
    assert len(changes.removed) == 1


def test_what_is_gone_is_deleted_and_a_part_deletes_only_there(world):
    world.run()
    shutil.rmtree(world.docs / "hr")
    (world.docs / "travel.html").unlink()
    world.write("hr/new.md", "New.")
    assert world.counts(world.files(under="hr"), under="hr") == {"added": 1, "removed": 1}
    assert [document.uri for document in world.documents.list()] == ["hr/new.md", "travel.html"]
    assert world.counts(remove_missing=False) == {"unchanged": 1}
    assert world.counts() == {"unchanged": 1, "removed": 1}


def test_new_labels_move_a_document_without_embedding(world):
    world.run()
    world.labels["labels"] = [{"path": "hr/**", "access": ["group:managers"]}]
    assert world.counts() == {"relabelled": 1, "unchanged": 1} and not world.embedded
    labels = world.documents.find("docs", "hr/leave.md").access_class.labels
    assert labels.principals == {"group:managers"}


def test_tighter_labels_hold_even_when_the_new_content_cannot_be_read(world):
    world.run()
    world.labels["labels"] = [{"path": "hr/**", "access": ["group:managers"]}]
    world.write("hr/leave.md", b"\x00\x01\x02" * 400)
    summary = world.run()
    ((uri, reason),) = summary.refused
    assert uri == "hr/leave.md" and "binary" in reason and "before stays" in reason
    document = world.documents.find("docs", "hr/leave.md")
    assert document.access_class.labels.principals == {"group:managers"}
    assert "18 weeks" in world.documents.text(document.id)


def test_unreadable_files_are_reported_and_the_rest_goes_on(world):
    world.write("junk.pdf", b"\x00\x01junk" * 300)
    world.write("image.png", b"\x89PNG")
    world.write("empty.md", "")
    with open(os.fsencode(world.docs) + b"/bad-\xff.md", "wb") as file:
        file.write(b"text")
    found = world.counts()
    assert found["added"] == 2
    assert sorted(found["refused"]) == ["bad-\\udcff.md", "empty.md", "image.png", "junk.pdf"]
    assert len(world.documents.list()) == 2


def test_a_file_that_vanishes_is_reported_and_forgotten(world):
    world.run()
    files = world.files()
    listed = list(files.discover())
    files.discover = lambda: iter(listed[:1])
    (world.docs / "hr" / "leave.md").write_text("other content")
    changed = [*world.files().discover()][0]
    files.discover = lambda: iter([changed])
    (world.docs / "hr" / "leave.md").unlink()
    assert world.counts(files, remove_missing=False) == {"removed": 1, "refused": ["hr/leave.md"]}
    assert world.documents.find("docs", "hr/leave.md") is None


def test_another_embedder_or_another_cut_reads_everything_again(world):
    world.run()
    assert world.counts(embedder="other") == {"changed": 2} and len(world.embedded) == 2
    assert len(world.documents.changes(0, "other").upserted) == 2
    assert world.documents.changes(0, world.embedder.digest).upserted == ()
    settings = Settings(workspace=world.docs.parent, retrieval={"chunk_tokens": 32})
    assert world.counts(embedder="other", settings=settings) == {"changed": 2}


@pytest.mark.parametrize("written", ["leave.md", "hr/leave.md", "/hr/leave.md", "../hr/leave.md"])
def test_a_newer_document_supersedes_an_older_one(world, written):
    world.write("hr/leave-2026.md", f"---\nsupersedes: {written}\n---\nParents get 20 weeks.")
    world.run()
    newer = world.documents.find("docs", "hr/leave-2026.md")
    assert world.documents.find("docs", "hr/leave.md").superseded_by == newer.id


@pytest.mark.parametrize("written", ["old.md", "hr/old.md", "/hr/old.md", "../hr/old.md"])
@pytest.mark.parametrize("first", ["hr/old.md", "hr/new.md"])
def test_what_a_document_supersedes_may_come_later(world, written, first):
    texts = {"hr/old.md": "Parents get 9 weeks.", "hr/new.md": f"---\nsupersedes: {written}\n---\n20 weeks."}
    world.write(first, texts.pop(first))
    world.run()
    world.write(*texts.popitem())
    for embedder in (world.embedder.digest, "other"):  # the second reads both anew
        world.run(embedder=embedder)
        newer = world.documents.find("docs", "hr/new.md")
        assert world.documents.find("docs", "hr/old.md").superseded_by == newer.id


def test_what_a_document_supersedes_may_stand_outside_the_folder_that_is_ingested(world):
    world.run()
    world.write("it/leave.md", "---\nsupersedes: hr/leave.md\n---\n20 weeks.")
    world.run(world.files(under="it"), under="it")
    assert world.documents.find("docs", "hr/leave.md").superseded_by


def test_two_ingests_of_one_source_do_not_mix(world):
    busy = []

    def again(_):
        with pytest.raises(SourceBusy, match="docs"):
            world.run()
        busy.append(True)

    world.run(progress=again)
    assert busy == [True, True]
    assert world.counts() == {"unchanged": 2}


def test_progress_counts_every_document(world):
    seen = []
    world.run(progress=seen.append)
    assert [(p.uri, p.outcome, p.done, p.total) for p in seen] == [
        ("hr/leave.md", "added", 1, 2),
        ("travel.html", "added", 2, 2),
    ]


def test_a_source_that_cannot_be_listed_deletes_nothing(world):
    world.run()
    world.write("hr/.access.yaml", "access: nobody")
    with pytest.raises(ConfigError):
        world.run()
    shutil.rmtree(world.docs)
    with pytest.raises(IngestError, match="does not exist"):
        world.run()
    assert len(world.documents.list()) == 2


class Pages(BaseLoader):
    def lazy_load(self):
        yield Document(page_content="Page one.", metadata={"source": "wiki/a.pdf", "title": "A"})
        yield Document(page_content="Page two.", metadata={"source": "wiki/a.pdf"})


def test_a_langchain_loader_is_ingested(world):
    labels = Labels(source="wiki", principals=frozenset({"everyone"}))
    connector = LangChainConnector("wiki", Pages(), labels)
    assert world.counts(connector) == {"added": 1}
    assert world.counts(connector) == {"unchanged": 1}
    document = world.documents.find("wiki", "wiki/a.pdf")
    assert document.title == "A" and "Page two." in world.documents.text(document.id)


def archive(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, text in files.items():
            file.writestr(name.replace("_", "."), text)
    return packed.getvalue()


def test_a_file_that_moved_keeps_its_vectors_and_takes_its_new_labels_and_name(world):
    world.write("travel-costs.txt", "Hotels cost 90 a night.")
    world.run()
    before = world.documents.find("docs", "travel-costs.txt")
    world.labels["labels"] = [{"path": "board/**", "access": ["group:board"]}]
    (world.docs / "board").mkdir()
    (world.docs / "travel-costs.txt").rename(world.docs / "board" / "hotel-costs.txt")
    assert world.counts() == {"renamed": 1, "unchanged": 2} and not world.embedded
    moved = world.documents.find("docs", "board/hotel-costs.txt")
    assert moved.id == before.id and world.documents.find("docs", "travel-costs.txt") is None
    assert moved.access_class.labels.principals == {"group:board"}
    assert (before.title, moved.title) == (spoken("travel-costs.txt"), spoken("hotel-costs.txt"))
    assert world.counts() == {"unchanged": 3}


def test_a_copy_is_embedded_and_its_original_stays(world):
    world.run()
    shutil.copy(world.docs / "travel.html", world.docs / "copy.html")
    assert world.counts() == {"added": 1, "unchanged": 2}


def test_what_stands_in_an_archive_is_documents_that_go_with_it(world):
    world.write("old.zip", archive(rules_md="# Rules\n\nNo smoking.", plan_txt="Leave by the stairs."))
    world.run()
    uris = {document.uri for document in world.documents.list()}
    assert {"old.zip!/rules.md", "old.zip!/plan.txt"} < uris
    labels = {document.access_class.labels.digest for document in world.documents.list()}
    assert len(labels) == 1
    found = world.counts()
    assert found == {"unchanged": 5} and not world.embedded
    (world.docs / "old.zip").rename(world.docs / "new.zip")
    assert world.counts() == {"renamed": 3, "unchanged": 2} and not world.embedded
    assert world.documents.find("docs", "new.zip!/rules.md").title == "Rules"
    world.write("new.zip", archive(rules_md="# Rules\n\nNo smoking."))
    assert world.counts() == {"changed": 2, "removed": 1, "unchanged": 2}
    (world.docs / "new.zip").unlink()
    assert world.counts() == {"unchanged": 2, "removed": 2}


def test_an_archive_that_was_half_stored_is_stored_whole(world):
    class Dies(Exception):
        pass

    def put(document, *arguments):
        if document.uri == "a.zip":
            raise Dies
        return Documents.put(world.documents, document, *arguments)

    world.write("a.zip", archive(rules_md="# Rules\n\nNo smoking."))
    half = Documents(world.database)
    half.put = put
    with pytest.raises(Dies):
        world.run(documents=half)
    assert world.documents.find("docs", "a.zip!/rules.md") and not world.documents.find("docs", "a.zip")
    assert world.run().removed == 0
    assert world.documents.find("docs", "a.zip!/rules.md") and world.documents.find("docs", "a.zip")


def test_a_dry_run_says_what_would_be_done_and_reads_little(world):
    world.write("gone.md", "This goes.")
    world.write("moved.md", "This moves somewhere else.")
    world.write("touched.md", "This is touched.")
    world.run()
    (world.docs / "gone.md").unlink()
    (world.docs / "moved.md").rename(world.docs / "elsewhere.md")
    os.utime(world.docs / "touched.md", ns=(5, 5))
    world.write("travel.html", "<title>Travel</title><p>Hotels cost 12000.</p>")
    world.write("new.md", "This is new.")
    world.labels["labels"] = [{"path": "hr/**", "access": ["group:managers"]}]
    files, fetched = world.files(), []
    fetch = files.fetch
    files.fetch = lambda item: fetched.append(item.uri) or fetch(item)
    number = world.documents.change_number()
    kinds = {"documents": world.documents, "settings": world.settings}
    assert dict(ingest.preview(files, embedder=world.embedder.digest, **kinds)) == {
        "hr/leave.md": "relabelled",
        "elsewhere.md": "renamed",
        "gone.md": "removed",
        "new.md": "added",
        "touched.md": "unchanged",
        "travel.html": "changed",
    }
    assert sorted(fetched) == ["elsewhere.md", "touched.md"]
    assert world.documents.change_number() == number
    assert world.counts() == {
        name: 1 for name in ("added", "changed", "renamed", "unchanged", "relabelled", "removed")
    }


class Told:
    """An extractor whose documents come with something to say."""

    def extract(self, data, uri):
        broken = Member(uri="b.bin", extracted=None, reason="It is binary.")
        return Extracted(
            text="", title="T", media_type="text/plain", members=(broken,), notices=("Page 3 holds no text.",)
        )


def test_what_a_reader_should_know_is_in_the_summary(world):
    summary = world.run(extractor=Told())
    assert summary.notices == (
        ("hr/leave.md", "Page 3 holds no text."),
        ("travel.html", "Page 3 holds no text."),
    )
    assert summary.refused[0] == ("hr/leave.md!/b.bin", "It is binary.") and summary.added == 2


def test_progress_tells_rate_and_time_left(world):
    seen = []
    world.run(progress=seen.append)
    assert [step.chunks for step in seen] == [1, 2]
    assert seen[0].left_s > 0 and seen[-1].left_s == 0
