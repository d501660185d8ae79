"""LangChain loaders as sources."""

import pytest
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from assistant.connectors.langchain import LangChainConnector
from assistant.errors import IngestError
from assistant.types import Labels

LABELS = Labels(source="wiki", principals=frozenset({"everyone"}))


class Pages(BaseLoader):
    def __init__(self, *pages):
        self.pages = pages

    def lazy_load(self):
        for page in self.pages:
            if isinstance(page, Exception):
                raise page
            text, metadata = page
            yield Document(page_content=text, metadata=metadata)


def test_pages_of_one_source_are_one_item():
    loader = Pages(
        ("one", {"source": "a.pdf", "title": "A"}), ("b", {"source": "b"}), ("two", {"source": "a.pdf"})
    )
    connector = LangChainConnector("wiki", loader, LABELS)
    first, second = connector.discover()
    assert (first.uri, first.title, first.read_as, second.uri) == ("a.pdf", "A", "txt", "b")
    assert connector.fetch(first) == b"one\n\ntwo"
    assert first.labels == LABELS


def test_labels_may_depend_on_the_uri():
    connector = LangChainConnector(
        "wiki",
        Pages(("x", {"source": "a"})),
        lambda uri: Labels(source="wiki", principals=frozenset({f"user:{uri}"})),
    )
    assert next(connector.discover()).labels.principals == {"user:a"}


@pytest.mark.parametrize("page", [("x", {}), OSError("no network")])
def test_what_cannot_be_told_apart_or_loaded_is_refused(page):
    with pytest.raises(IngestError, match="wiki"):
        list(LangChainConnector("wiki", Pages(page), LABELS).discover())
