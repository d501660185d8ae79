"""Extractor plug-ins: by name, by extension, inside the worker process only."""

import pytest

from assistant.errors import IngestError
from assistant.extraction.extract import Extractor

SOURCE = """
from assistant.errors import IngestError
from assistant.extraction.extracted import Builder

class Recognition:
    def read(self, data, uri):
        if b"blank" in data:
            raise IngestError("Nothing is written on it.")
        builder = Builder()
        builder.add("paragraph", f"seen: {data.decode('latin-1')}", page=1)
        return builder.build(title="Scan", media_type="image/png")

no_reader = 3
"""
POINTS = "[assistant.extractors]\nocr = scans:Recognition\npng = scans:Recognition\nodd = scans:no_reader\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package of plug-ins that worker processes see."""
    (tmp_path / "scans.py").write_text(SOURCE)
    folder = tmp_path / "scans-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: scans\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(POINTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_plug_in_reads_what_it_is_named_for(installed):
    with Extractor(readers={"pdf": "ocr", "tif": "odd", "bmp": "gone"}) as extractor:
        scan = extractor.extract(b"%PDF-1.4 page", "a.pdf")
        assert (scan.text, scan.title, scan.pages[0].page) == ("seen: %PDF-1.4 page", "Scan", 1)
        assert extractor.extract(b"picture", "a.PNG").text == "seen: picture"
        assert extractor.extract(b"# plain", "a.md").text == "plain"
        for data, uri, words in (
            (b"blank", "a.png", "Nothing is written"),
            (b"x", "a.tif", "no method read"),
            (b"x", "a.bmp", "no extractor plug-in 'gone'.*ocr, odd, png"),
        ):
            with pytest.raises(IngestError, match=words):
                extractor.extract(data, uri)


def test_without_configuration_only_unread_extensions_reach_a_plug_in(installed):
    with Extractor() as extractor:
        assert extractor.extract(b"picture", "a.png").text == "seen: picture"
        with pytest.raises(IngestError, match="cannot be read"):
            extractor.extract(b"%PDF-1.4 page", "a.pdf")
