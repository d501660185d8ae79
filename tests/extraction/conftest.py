import pytest

from assistant.extraction.extract import Extractor, Limits


@pytest.fixture(scope="session")
def extractor():
    """One warm worker process for all tests that do not kill it."""
    with Extractor(limits=Limits(timeout_s=30)) as extractor:
        yield extractor
