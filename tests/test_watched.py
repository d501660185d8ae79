"""A changed file is noticed at once, and a broken one is an error until it is mended."""

import os
import time

import pytest

from assistant.errors import ConfigError
from assistant.watched import Watched


class Reader:
    """Counts how often it is asked; refuses what begins with a question mark."""

    def __init__(self):
        self.read = 0

    def __call__(self, text, file):
        self.read += 1
        if text.startswith("?"):
            raise ConfigError(f"{file.name} is wrong.")
        return text.upper()


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "people.yaml"
    file.write_text("ana")
    return file


def age(file, seconds=10):
    """Make the file look as if it had been written a while ago; its ctime stays, so `_SETTLED_NS` is met."""
    then = time.time() - seconds
    os.utime(file, (then, then))


def test_every_change_is_noticed_even_within_one_tick_of_the_clock(file):
    watched = Watched(file, Reader())
    for number in range(200):
        file.write_text(f"{number:03}")  # the same size each time
        assert watched.current() == f"{number:03}"


def test_an_unchanged_file_is_made_into_a_value_once(file, monkeypatch):
    reader = Reader()
    watched = Watched(file, reader)
    first = watched.current()
    assert all(watched.current() is first for _ in range(50))
    monkeypatch.setattr("assistant.watched._SETTLED_NS", 0)  # as if it were old enough not to be read again
    assert watched.current() is first
    os.replace(file, beside := file.with_suffix(".old"))
    file.write_text("ana")
    assert watched.current() == "ANA" and reader.read == 1
    beside.unlink()


def test_a_settled_file_is_not_even_read(file, monkeypatch):
    monkeypatch.setattr("assistant.watched._SETTLED_NS", 0)
    watched = Watched(file, Reader())
    watched.current()
    monkeypatch.setattr(type(file), "read_bytes", lambda self: pytest.fail("it was read again"))
    assert watched.current() == "ANA"


def test_a_swap_that_keeps_size_and_time_is_noticed(file, monkeypatch):
    monkeypatch.setattr("assistant.watched._SETTLED_NS", 0)
    age(file)
    watched = Watched(file, Reader())
    assert watched.current() == "ANA"
    beside = file.with_suffix(".new")
    beside.write_text("bob")
    os.utime(beside, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    beside.replace(file)
    assert watched.current() == "BOB"


def test_a_broken_file_is_an_error_until_it_is_mended(file):
    watched = Watched(file, Reader())
    assert watched.current() == "ANA"
    for broken in (b"?", b"\xff"):
        file.write_bytes(broken)
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"people\.yaml"):
                watched.current()
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        watched.current()
    file.write_text("ana")
    assert watched.current() == "ANA"
