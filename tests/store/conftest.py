import pytest

from assistant.store.database import Database


@pytest.fixture
def database(tmp_path):
    database = Database.open(f"sqlite:///{tmp_path}/assistant.db")
    database.migrate()
    yield database
    database.close()
