"""The folder of the worker processes: private, the same every time, or refused."""

import os
import tempfile
from pathlib import Path

import pytest

from assistant.errors import IngestError
from assistant.extraction.extract import Extractor
from assistant.extraction.scratch import private_folder

PDF = Path(__file__).parents[1] / "data" / "two_pages.pdf"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_pdf_is_read_on_a_machine_that_never_read_one_and_only_its_library_is_kept(temporary):
    for _ in range(2):
        with Extractor() as extractor:
            assert "HX-7" in extractor.extract(PDF.read_bytes(), "a.pdf").text
    files = [path for path in temporary.rglob("*") if path.is_file()]
    assert len(files) == 1 and "pdfium" in files[0].name
    assert private_folder() == private_folder()


def test_a_folder_that_others_can_write_to_is_refused(temporary):
    os.chmod(private_folder(), 0o777)
    with pytest.raises(IngestError, match="not this user's alone"):
        private_folder()


def test_a_link_in_its_place_is_refused(temporary):
    (temporary / "elsewhere").mkdir()
    Path(private_folder()).rmdir()
    Path(temporary, f"assistant-extract-{os.getuid()}").symlink_to(temporary / "elsewhere")
    with pytest.raises(IngestError, match="alone"):
        private_folder()
