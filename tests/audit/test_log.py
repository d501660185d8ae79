"""The log loses nothing acknowledged, whatever dies or fails, and refuses to go on when it was altered."""

import os
import random
import signal
import threading
import time
import traceback
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from assistant.audit.entry import MAX_BYTES, Body, Draft, Entry
from assistant.audit.log import AuditLog
from assistant.audit.merkle import leaf_hash, root_from_inclusion
from assistant.errors import AuditError, Unknown
from assistant.store.database import Database


class Appender:
    """A process of its own that appends and writes every receipt into a file.

    It is forked, which takes milliseconds; the database must not be open then.
    """

    def __init__(self, place, count, kill_at=0):
        place.database.close()
        self._file = place.folder.parent / f"receipts-{time.monotonic_ns()}"
        self._file.touch()
        self.id = os.fork()
        if self.id == 0:
            try:
                append(place, count, kill_at, self._file)
                os._exit(0)
            finally:
                traceback.print_exc()
                os._exit(1)

    def end(self):
        """Wait for its end; return position and leaf hash of every receipt, how it ended, steps taken."""
        _, status = os.waitpid(self.id, 0)
        rows = [line.split() for line in self._file.read_text().splitlines()]
        self.code = os.waitstatus_to_exitcode(status)
        self.steps = next((int(row[1]) for row in rows if row[0] == "steps"), 0)
        return {int(row[0]): row[1] for row in rows if row[0] != "steps"}

    def wait_for_a_receipt(self):
        while not self._file.stat().st_size:
            time.sleep(0.001)


def append(place, count, kill_at, out):
    """Append; at step `kill_at` die as by kill -9. A step is what touches the disk: before and after it."""
    steps = 0

    def step():
        nonlocal steps
        steps += 1
        if steps == kill_at:
            os._exit(9)

    def stepped(real):
        def call(*args, **named):
            step()
            result = real(*args, **named)
            step()
            return result

        return call

    log = AuditLog(Database.open(place.url), place.folder)
    if kill_at:
        os.fsync, os.truncate = stepped(os.fsync), stepped(os.truncate)
        Path.replace = stepped(Path.replace)
        Connection.execute = stepped(Connection.execute)
        Connection._commit_impl = stepped(Connection._commit_impl)
    descriptor = os.open(out, os.O_WRONLY | os.O_APPEND)
    for number in range(count):
        draft = Draft(kind="answer.closed", id=f"{os.getpid()}-{number}", user=f"u{kill_at}")
        receipt = log.append(draft, Body(salt="00", question="?") if number % 2 == 0 else None)
        os.write(descriptor, f"{receipt.index} {receipt.leaf_hash}\n".encode())
    os.write(descriptor, f"steps {steps}\n".encode())


def stored(place):
    rows = place.query("SELECT position, leaf_hash FROM log_entries ORDER BY position")
    return {row.position: bytes(row.leaf_hash).hex() for row in rows}


def test_an_entry_is_covered_by_the_head_when_append_returns(place, new_draft, new_body):
    log = place.log()
    for number in range(5):
        receipt = log.append(new_draft(number), new_body(number))
        assert (receipt.index, receipt.tree_size) == (number, number + 1)
        head = log.checkpoint().split("\n")
        assert head[1] == str(number + 1)
        result = place.verify()
        assert result.holds and result.root_hash == receipt.root_hash
    assert [entry.position for entry in log.entries(limit=2)] == [4, 3]
    assert [entry.position for entry in log.entries(before=2)] == [1, 0]
    assert log.entries(user="kim") == ()
    assert log.of("ans-3")[0].position == 3
    with pytest.raises(Unknown, match="No entry ans-9"):
        log.of("ans-9")


def test_every_proof_leads_to_the_signed_root(place):
    log = place.filled(7)
    for position in range(7):
        receipt, path = log.proof(position)
        leaf = leaf_hash(
            place.query("SELECT entry FROM log_entries WHERE position = :p", p=position)[0].entry
        )
        assert leaf.hex() == receipt.leaf_hash
        assert root_from_inclusion(leaf, position, receipt.tree_size, path).hex() == receipt.root_hash
        assert log.checkpoint().split("\n")[1] == str(receipt.tree_size)
    for nowhere in (-1, 7):
        with pytest.raises(Unknown):
            log.proof(nowhere)
    place.sql("UPDATE log_entries SET entry = X'00' WHERE position = 2")
    with pytest.raises(AuditError, match="Entry 2 is not what was signed"):
        log.proof(2)


def test_bodies_are_sealed_bound_to_their_place_and_erased_with_the_key(place, new_draft, new_body):
    log = place.log()
    log.append(new_draft(0), new_body(0))
    log.append(new_draft(1), new_body(1))
    log.append(new_draft(2))
    entries = list(reversed(log.entries()))
    assert log.body(entries[0]) == new_body(0) and log.body(entries[2]) is None
    files = [p for p in place.folder.parent.rglob("*") if p.is_file()]
    assert not any(b"Question 0?" in p.read_bytes() for p in files)
    place.sql("UPDATE log_bodies SET position = 9 WHERE position = 0")
    place.sql("UPDATE log_bodies SET position = 0 WHERE position = 1")
    with pytest.raises(AuditError, match="belongs to another entry"):
        log.body(entries[0])
    place.sql("UPDATE log_bodies SET position = 1 WHERE position = 0")
    place.sql("UPDATE log_bodies SET position = 0 WHERE position = 9")
    assert log.vault.destroy("ana") and not log.vault.destroy("ana")
    with pytest.raises(AuditError, match="erased"):
        log.body(entries[0])
    log.append(new_draft(3), new_body(3))
    with pytest.raises(AuditError, match="erased"):
        log.body(entries[0])
    assert log.body(log.of("ans-3")[0]) == new_body(3)
    assert place.verify().holds


def test_an_entry_of_more_than_64_kib_is_refused(place, new_draft):
    log = place.log()
    room = MAX_BYTES - len(
        Entry(
            **new_draft(0, attributes={"x": ""}).model_dump(),
            position=0,
            recorded_at="2026-01-01T00:00:00.000+00:00",
        ).canonical()
    )
    with pytest.raises(AuditError, match="65,536 bytes; 65,535 are allowed"):
        log.append(new_draft(0, attributes={"x": "a" * (room + 1)}))
    assert stored(place) == {} and log.checkpoint() == ""
    assert log.append(new_draft(0, attributes={"x": "a" * room})).index == 0
    assert place.verify().holds


@pytest.mark.parametrize("bad", [{"user": "\ud800"}, {"id": "\udfff"}, {"attributes": {"x": "\ud83d"}}])
def test_text_that_cannot_be_written_is_refused(place, new_draft, new_body, bad):
    log = place.log()
    with pytest.raises(AuditError, match="could not be written"):
        log.append(new_draft(0, **bad), new_body(0))
    assert stored(place) == {} and place.verify().holds


def test_threads_share_a_log(place, new_draft, new_body):
    log = place.log()
    receipts = []

    def write(name):
        for number in range(10):
            receipts.append(log.append(new_draft(number, id=f"{name}-{number}", user=name), new_body(number)))

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.index for r in receipts) == list(range(40))
    assert {r.index: r.leaf_hash for r in receipts} == stored(place)
    assert place.verify().holds


def test_processes_share_a_log(place, new_draft):
    """Three processes and this one; all start on an empty folder, so they also race for the key."""
    processes = [Appender(place, 12) for _ in range(3)]
    log = place.log()
    receipts = [log.append(new_draft(number)) for number in range(12)]
    seen = [{receipt.index: receipt.leaf_hash for receipt in receipts}]
    seen += [process.end() for process in processes]
    assert [process.code for process in processes] == [0, 0, 0]
    assert sorted(position for each in seen for position in each) == list(range(48))
    assert {position: leaf for each in seen for position, leaf in each.items()} == stored(place)
    assert place.verify().holds


def test_a_process_killed_at_every_step_of_an_append(place, new_draft):
    """Before and after each flush, cut, rename, SQL statement and commit."""
    place.log().append(new_draft(0))
    trial = Appender(place, 1, kill_at=1_000_000)
    trial.end()
    assert trial.steps > 20
    before = stored(place)
    for kill_at in range(1, trial.steps + 1):
        process = Appender(place, 1, kill_at)
        promised = process.end()
        assert process.code == 9
        assert place.verify().holds, f"verified as it was left, killed at step {kill_at}"
        place.log()
        assert place.verify().holds, f"verified after reopening, killed at step {kill_at}"
        after = stored(place)
        assert before.items() <= after.items() and promised.items() <= after.items()
        assert len(after) - len(before) - len(promised) in (0, 1)
        before = after


def test_processes_killed_at_random_moments(place, new_draft):
    chance = random.Random(7)
    place.log()
    for _ in range(5):
        process = Appender(place, 10_000)
        process.wait_for_a_receipt()
        time.sleep(chance.random() * 0.1)
        os.kill(process.id, signal.SIGKILL)
        promised = process.end()
        assert promised and promised.items() <= stored(place).items()
        assert place.verify().holds
        place.log().append(new_draft(0))
        assert place.verify().holds


@pytest.mark.parametrize("call", ["fsync", "open", "replace", "commit"])
def test_a_failing_disk_is_an_audit_error_and_leaves_nothing(place, new_draft, new_body, monkeypatch, call):
    """The disk is full at one call after the other of an append, then has room again."""
    log = place.filled(2)
    target, name, error = {
        "fsync": (os, "fsync", OSError(28, "No space left on device")),
        "open": (os, "open", OSError(28, "No space left on device")),
        "replace": (Path, "replace", OSError(30, "Read-only file system")),
        "commit": (Connection, "_commit_impl", OperationalError("COMMIT", {}, Exception("disk is full"))),
    }[call]
    real = getattr(target, name)
    for failing in range(12):
        left = failing

        def fail(*args, _real=real, _error=error, **named):
            nonlocal left
            left -= 1
            if left == -1:
                raise _error
            return _real(*args, **named)

        before = stored(place)
        monkeypatch.setattr(target, name, fail)
        try:
            receipt = log.append(new_draft(failing, user=f"u{failing}"), new_body(failing))
        except AuditError:
            receipt = None
        monkeypatch.setattr(target, name, real)
        if left >= 0:
            assert receipt is not None
            break
        after = stored(place)
        assert after == before or (len(after), call) in (
            (len(before) + 1, "fsync"),
            (len(before) + 1, "replace"),
        )
        assert place.verify().holds
        assert log.append(new_draft(failing)).index == len(after)
        assert place.verify().holds
    else:
        raise AssertionError("the append never succeeded")


TAMPERINGS = {
    "an entry": "UPDATE log_entries SET entry = X'7b7d' WHERE position = 1",
    "an entry as text": "UPDATE log_entries SET entry = 'text' WHERE position = 1",
    "a leaf hash": "UPDATE log_entries SET leaf_hash = zeroblob(32) WHERE position = 1",
    "a deletion": "DELETE FROM log_entries WHERE position = 1",
    "a truncation": "DELETE FROM log_entries WHERE position >= 2",
    "everything gone": "DELETE FROM log_entries",
    "an addition": "INSERT INTO log_entries SELECT 4, answer_id, kind, recorded_at, user_id, leaf_hash, "
    "entry FROM log_entries WHERE position = 3",
}


@pytest.mark.parametrize("statement", TAMPERINGS.values(), ids=TAMPERINGS)
def test_a_log_altered_before_the_start_is_not_opened(place, statement):
    place.filled(4)
    place.sql(statement)
    with pytest.raises(AuditError) as caught:
        place.log()
    assert "audit verify" in str(caught.value)
    assert not place.verify().holds


@pytest.mark.parametrize("what", ["a truncation", "everything gone", "an addition"])
def test_a_log_altered_while_it_is_open_takes_no_more_entries(place, new_draft, what):
    log = place.filled(4)
    place.sql(TAMPERINGS[what])
    with pytest.raises(AuditError):
        log.append(new_draft(9))
    assert len(log.entries(user="ana")) != 5 or what == "an addition"


@pytest.mark.parametrize("name", ["head", "leaves", "signing.pub"])
def test_an_altered_file_beside_is_not_opened(place, name):
    place.filled(3)
    data = (place.folder / name).read_bytes()
    (place.folder / name).write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    with pytest.raises(AuditError):
        place.log()


def test_a_lost_head_is_not_opened(place):
    place.filled(3)
    (place.folder / "head").unlink()
    with pytest.raises(AuditError, match="its signed head covers 0"):
        place.log()


def test_lost_leaf_hashes_are_made_anew_from_entries_that_hash_to_the_head(place):
    place.filled(3)
    (place.folder / "leaves").unlink()
    assert not place.verify().holds
    place.log()
    assert place.verify().holds


def test_a_lost_signing_key_is_never_replaced(place):
    import shutil

    place.filled(2)
    key = (place.folder / "signing.key").read_bytes()
    (place.folder / "signing.key").unlink()
    with pytest.raises(AuditError, match="signing.key is missing"):
        place.log()
    assert place.verify().holds
    shutil.rmtree(place.folder)
    with pytest.raises(AuditError, match="signing.key is missing"):
        place.log()
    assert not (place.folder / "signing.key").exists()
    assert key


def test_a_damaged_person_key_is_an_error_not_a_new_key(place, new_draft, new_body):
    log = place.filled(1)
    [file] = (place.folder / "people").iterdir()
    file.write_bytes(b"short")
    with pytest.raises(AuditError, match="damaged"):
        log.append(new_draft(1), new_body(1))
    assert file.read_bytes() == b"short" and len(stored(place)) == 1


def test_an_entry_that_cannot_be_read_is_an_audit_error(place):
    log = place.filled(2)
    place.sql("UPDATE log_entries SET entry = X'7b7d' WHERE position = 1")
    with pytest.raises(AuditError, match="cannot be read"):
        log.entries()
    with pytest.raises(AuditError, match="cannot be read"):
        log.of("ans-1")


def test_interrupted_answers_are_closed_once(place, new_draft):
    log = place.log()
    for number in range(3):
        log.append(new_draft(number, kind="question.opened", status=None))
    log.append(new_draft(1))
    assert log.close_interrupted(timedelta(hours=1)) == 0
    assert log.close_interrupted(timedelta(0)) == 2
    assert log.close_interrupted(timedelta(0)) == 0
    closed = log.of("ans-2")[-1]
    assert (closed.kind, closed.status, closed.user) == ("answer.closed", "interrupted", "ana")
    assert closed.passages == log.of("ans-2")[0].passages
    assert place.verify().holds


def test_an_entry_is_written_with_its_claim_or_neither_is(place, new_draft):
    log = place.log()
    receipt = log.append_once(new_draft(1), lambda connection: True)
    assert receipt is not None and log.of("ans-1")[0].position == receipt.index
    assert log.append_once(new_draft(2), lambda connection: False) is None

    def fails(connection):
        raise OSError("no room")

    with pytest.raises(AuditError, match="no room"):
        log.append_once(new_draft(3), fails)
    assert log.append(new_draft(4)).index == receipt.index + 1
    assert place.verify().holds
