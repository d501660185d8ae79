"""Verification finds every way of tampering, and says where."""

import hashlib
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from assistant.audit.entry import Entry
from assistant.audit.heads import HASH_BYTES
from assistant.audit.merkle import leaf_hash
from assistant.audit.verify import verify

MANY = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
SIZES = (1, 2, 3, 5, 8, 12)


@pytest.fixture(scope="module")
def logs(new_place):
    """One untouched log of each size; a test puts back what it changed."""
    places = {}
    for size in SIZES:
        places[size] = new_place()
        places[size].filled(size)
        assert places[size].verify().holds
    return places


class Tampering:
    """Change a log's tables, and put them back."""

    def __init__(self, place):
        self.place = place

    def __enter__(self):
        self.entries = self.place.query("SELECT * FROM log_entries ORDER BY position")
        self.bodies = self.place.query("SELECT * FROM log_bodies ORDER BY position")
        return self.place

    def __exit__(self, *_):
        with self.place.database.write() as connection:
            for table, rows in (("log_entries", self.entries), ("log_bodies", self.bodies)):
                connection.execute(text(f"DELETE FROM {table}"))
                for row in rows:
                    names = ", ".join(f":{name}" for name in row._fields)
                    connection.execute(text(f"INSERT INTO {table} VALUES ({names})"), row._asdict())
        assert self.place.verify().holds


def positions(place):
    result = place.verify()
    assert not result.holds
    return {problem.position for problem in result.problems}


def entry_of(place, at):
    return bytes(place.query("SELECT entry FROM log_entries WHERE position = :at", at=at)[0].entry)


def put(place, at, data, *, columns=True):
    """Store other bytes at a position, with their hash, as an attacker who knows the format would."""
    place.sql(
        "UPDATE log_entries SET entry = :data, leaf_hash = :leaf WHERE position = :at",
        data=data,
        leaf=leaf_hash(data),
        at=at,
    )
    if columns:
        entry = Entry.model_validate_json(data)
        place.sql(
            "UPDATE log_entries SET answer_id = :a, kind = :k, recorded_at = :r, user_id = :u "
            "WHERE position = :at",
            a=entry.id,
            k=entry.kind,
            r=entry.recorded_at,
            u=entry.user,
            at=at,
        )


def test_every_byte_of_an_entry_counts(logs):
    with Tampering(logs[2]) as place:
        data = entry_of(place, 1)
        with place.database.write() as connection:  # one transaction, rolled back to nothing at the end
            for at in range(len(data)):
                changed = bytes([*data[:at], data[at] ^ 1 << at % 8, *data[at + 1 :]])
                connection.execute(
                    text("UPDATE log_entries SET entry = :data WHERE position = 1"), {"data": changed}
                )
                result = verify(_Same(connection), place.folder)
                assert {p.position for p in result.problems} == {1}
            connection.execute(
                text("UPDATE log_entries SET entry = :data WHERE position = 1"), {"data": data}
            )


class _Same:
    """Reads through the connection that writes, so that no edit needs to reach the disk."""

    def __init__(self, connection):
        self._connection = connection

    def read(self):
        from contextlib import nullcontext

        return nullcontext(self._connection)


@MANY
@given(st.data(), st.sampled_from(SIZES))
def test_any_edit_of_any_entry_is_found_where_it_is(logs, data, size):
    at = data.draw(st.integers(0, size - 1))
    rehash = data.draw(st.booleans())
    with Tampering(logs[size]) as place:
        blob = entry_of(place, at)
        byte = data.draw(st.integers(0, len(blob) - 1))
        changed = bytes([*blob[:byte], blob[byte] ^ data.draw(st.integers(1, 255)), *blob[byte + 1 :]])
        if rehash:
            put(place, at, changed, columns=False)
        else:
            place.sql("UPDATE log_entries SET entry = :d WHERE position = :at", d=changed, at=at)
        assert positions(place) == {at}


@pytest.mark.parametrize("column", ["answer_id", "kind", "recorded_at", "user_id", "leaf_hash", "entry"])
@pytest.mark.parametrize("value", ["other", b"\x00" * 32, 7])
def test_any_column_of_any_entry_counts(logs, column, value):
    for at in range(5):
        with Tampering(logs[5]) as place:
            place.sql(f"UPDATE log_entries SET {column} = :v WHERE position = :at", v=value, at=at)
            assert positions(place) == {at}


@pytest.mark.parametrize("column", ["key_id", "sealed"])
def test_any_edit_of_a_sealed_body_counts(logs, column):
    for at in (0, 2, 4):
        with Tampering(logs[5]) as place:
            was = place.query(f"SELECT {column} FROM log_bodies WHERE position = :at", at=at)[0][0]
            for index in (0, len(was) // 2, len(was) - 1):
                other = bytes([was[index] ^ 1]) if isinstance(was, bytes) else "x"  # never what was there
                changed = was[:index] + other + was[index + 1 :]
                place.sql(f"UPDATE log_bodies SET {column} = :v WHERE position = :at", v=changed, at=at)
                assert positions(place) == {at}


def test_bodies_removed_added_moved_and_swapped(logs):
    with Tampering(logs[5]) as place:
        place.sql("DELETE FROM log_bodies WHERE position = 2")
        assert positions(place) == {2}
    with Tampering(logs[5]) as place:
        place.sql("INSERT INTO log_bodies VALUES (1, 'x', X'00')")
        assert positions(place) == {1}
    with Tampering(logs[5]) as place:
        place.sql("UPDATE log_bodies SET position = 3 WHERE position = 2")
        assert positions(place) == {2, 3}
    with Tampering(logs[5]) as place:
        place.sql("UPDATE log_bodies SET position = 99 WHERE position = 4")
        assert positions(place) == {4, 99}


def test_a_deleted_entry_is_named(logs):
    for size in (1, 2, 3, 8):
        for at in range(size):
            with Tampering(logs[size]) as place:
                place.sql("DELETE FROM log_entries WHERE position = :at", at=at)
                place.sql("DELETE FROM log_bodies WHERE position = :at", at=at)
                assert positions(place) == {at}


def test_a_deletion_closed_up_behind_is_named_from_there_on(logs):
    for at in (0, 1, 7, 11):
        with Tampering(logs[12]) as place:
            place.sql("DELETE FROM log_entries WHERE position = :at", at=at)
            place.sql("DELETE FROM log_bodies WHERE position = :at", at=at)
            for later in range(at + 1, 12):
                for table in ("log_entries", "log_bodies"):
                    place.sql(f"UPDATE {table} SET position = position - 1 WHERE position = :n", n=later)
            assert positions(place) == set(range(at, 12))


@MANY
@given(st.data(), st.sampled_from(SIZES[1:]), st.sampled_from(["blob", "row", "rewritten"]))
def test_two_swapped_entries_are_both_named(logs, data, size, how):
    one, two = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=2, unique=True))
    with Tampering(logs[size]) as place:
        first, second = entry_of(place, one), entry_of(place, two)
        if how == "blob":
            for at, blob in ((one, second), (two, first)):
                place.sql("UPDATE log_entries SET entry = :d WHERE position = :at", d=blob, at=at)
        elif how == "row":
            put(place, one, second)
            put(place, two, first)
            swap_bodies(place, one, two)
        else:
            put(place, one, moved(second, one))
            put(place, two, moved(first, two))
            swap_bodies(place, one, two)
        assert positions(place) == {one, two}


def moved(blob, at):
    return Entry.model_validate_json(blob).model_copy(update={"position": at}).canonical()


def swap_bodies(place, one, two):
    for was, to in ((one, -1), (two, one), (-1, two)):
        place.sql("UPDATE log_bodies SET position = :to WHERE position = :was", to=to, was=was)


def test_truncation_is_seen_against_the_signed_head(logs):
    for size in (1, 2, 3, 8):
        for left in range(size):
            with Tampering(logs[size]) as place:
                place.sql("DELETE FROM log_entries WHERE position >= :left", left=left)
                place.sql("DELETE FROM log_bodies WHERE position >= :left", left=left)
                assert positions(place) == {left}


def test_entries_added_unsigned_are_seen(logs):
    for size in SIZES:
        with Tampering(logs[size]) as place:
            blob = moved(entry_of(place, size - 1), size)
            place.sql(
                "INSERT INTO log_entries SELECT :at, answer_id, kind, recorded_at, user_id, :leaf, :d "
                "FROM log_entries WHERE position = :last",
                at=size,
                leaf=leaf_hash(blob),
                d=blob,
                last=size - 1,
            )
            assert size in positions(place)


def test_numbers_below_zero_are_seen(logs):
    with Tampering(logs[3]) as place:
        place.sql("UPDATE log_entries SET position = -1 WHERE position = 1")
        assert {-1, 1} <= positions(place)


@pytest.mark.parametrize("name", ["head", "leaves", "signing.pub"])
def test_any_edit_of_a_file_beside_is_seen(logs, name):
    place = logs[3]
    file = place.folder / name
    was = file.read_bytes()
    try:
        for at in range(len(was) if name != "signing.pub" else len(was) - 1):
            file.write_bytes(bytes([*was[:at], was[at] ^ 1 << at % 7, *was[at + 1 :]]))
            assert not place.verify().holds, at
        for changed in (b"", was[:-2], was + was, was[HASH_BYTES:], was + b"\x00" * HASH_BYTES):
            file.write_bytes(changed)
            assert not place.verify().holds
        file.unlink()
        assert not place.verify().holds
    finally:
        file.write_bytes(was)
    assert place.verify().holds


def test_an_older_head_put_back_is_seen(place, new_draft):
    log = place.filled(3)
    older = (place.folder / "head").read_bytes()
    log.append(new_draft(3))
    log.append(new_draft(4))
    (place.folder / "head").write_bytes(older)
    assert 3 in positions(place)
    place.sql("DELETE FROM log_entries WHERE position >= 3")
    assert positions(place) == {3}, "the leaf hashes beside the head still tell"


def test_a_rewrite_of_everything_but_the_signature_is_seen(place):
    """The attacker recomputes every hash, in the database and beside it; the key is out of reach."""
    place.filled(4)
    data = Entry.model_validate_json(entry_of(place, 1)).model_copy(update={"status": "denied"}).canonical()
    put(place, 1, data)
    leaves = (place.folder / "leaves").read_bytes()
    (place.folder / "leaves").write_bytes(leaves[:HASH_BYTES] + leaf_hash(data) + leaves[2 * HASH_BYTES :])
    assert None in positions(place)


def test_another_key_is_seen(place, new_place):
    place.filled(3)
    other = new_place()
    other.filled(3)
    shutil.copy(other.folder / "signing.pub", place.folder / "signing.pub")
    assert None in positions(place)


def test_a_fresh_log_holds(place):
    assert not place.folder.exists()
    result = place.verify()
    assert result.holds and (result.entries, result.head_size) == (0, 0)
    place.log()
    assert place.verify().holds


def test_a_head_over_an_empty_database_is_seen(place):
    place.filled(2)
    place.sql("DELETE FROM log_entries")
    place.sql("DELETE FROM log_bodies")
    assert positions(place) == {0}


def test_entries_without_a_folder_are_seen(place):
    place.filled(2)
    shutil.rmtree(place.folder)
    assert positions(place) == {0}


def test_verifying_changes_nothing(place):
    place.filled(3)
    place.database.close()

    def digests():
        files = sorted(p for p in place.folder.parent.rglob("*") if p.is_file())
        return {str(p): hashlib.sha256(p.read_bytes()).digest() for p in files if "-shm" not in p.name}

    before = digests()
    assert place.verify().holds
    place.database.close()
    assert digests() == before


def test_it_may_run_while_the_log_is_written(place, new_draft):
    import threading

    log = place.filled(1)
    done = threading.Event()

    def write():
        for number in range(40):
            log.append(new_draft(number))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        result = place.verify()
        assert result.holds, result.problems
    writer.join()
    assert place.verify().entries == 41


def test_a_copy_of_the_folder_without_its_lock_is_verified(place):
    place.filled(2)
    (place.folder / "lock").unlink()
    assert place.verify().holds
