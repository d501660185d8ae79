"""Checkpoints as C2SP signed notes: exact form, one spelling, strict reading."""

import base64
import hashlib
import stat

import pytest

from assistant.audit.checkpoint import (
    Signer,
    TreeHead,
    open_checkpoint,
    read_verifier_key,
    verifier_key,
)
from assistant.durable import write_durably
from assistant.errors import AuditError

ORIGIN = "tidewell.example/answers"


@pytest.fixture
def signer(tmp_path):
    return Signer.create(tmp_path / "signing.key", ORIGIN)


@pytest.fixture
def head():
    return TreeHead(origin=ORIGIN, size=20852163, root=hashlib.sha256(b"root").digest())


def test_the_signed_note_of_the_go_implementation_is_understood():
    """Key, text and signature of golang.org/x/mod/sumdb/note's documentation."""
    name, public = read_verifier_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = b"If you think cryptography is the answer to your problem,\n"
    text += b"then you don't know what your problem is.\n"
    raw = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert verifier_key(public, name).split("+")[1] == raw[:4].hex() == "c74f20a3"
    public.verify(raw[4:], text)


def test_the_form_of_a_checkpoint(signer, head):
    text = signer.sign(head)
    lines = text.split("\n")
    assert lines[:4] == [ORIGIN, "20852163", base64.b64encode(head.root).decode(), ""]
    dash, name, encoded = lines[4].split(" ")
    assert (dash, name, lines[5:]) == ("—", ORIGIN, [""])
    raw = base64.b64decode(encoded)
    key = base64.b64decode(signer.verifier.split("+", 2)[2])
    assert raw[:4] == hashlib.sha256(ORIGIN.encode() + b"\n" + key).digest()[:4]
    assert key[0] == 1 and len(key) == 33 and len(raw) == 4 + 64
    signer.public.verify(raw[4:], "\n".join([*lines[:3], ""]).encode())
    assert signer.open(text) == head


def test_a_note_may_carry_signatures_of_others(signer, head):
    text = signer.sign(head)
    witness = "— witness.example/w " + base64.b64encode(bytes(68)).decode() + "\n"
    note, _, mine = text.rpartition("\n\n")
    assert signer.open(text + witness) == head
    assert signer.open(f"{note}\n\n{witness}{mine}") == head
    with pytest.raises(AuditError, match="no signature"):
        signer.open(f"{note}\n\n{witness}")


def test_every_edit_of_one_character_is_refused(signer, head):
    text = signer.sign(head)
    for at in range(len(text)):
        for other in ("", "A", "B", "0", "5", " ", "\n", "=", text[at] * 2):
            changed = text[:at] + other + text[at + 1 :]
            if changed != text:
                with pytest.raises(AuditError):
                    signer.open(changed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("20852163", "020852163"),
        ("20852163", "+20852163"),
        ("20852163", "20_852_163"),
        ("20852163", "２０852163"),
        ("20852163", "-1"),
        ("20852163\n", "20852163\nextension\n"),
        (ORIGIN + "\n", "other.example\n"),
        ("\n", "\r\n"),
    ],
)
def test_other_spellings_are_refused(signer, head, old, new):
    with pytest.raises(AuditError):
        signer.open(signer.sign(head).replace(old, new, 1))


def test_extension_lines_do_not_pass_unsigned(signer, head):
    note, _, signatures = signer.sign(head).rpartition("\n\n")
    with pytest.raises(AuditError, match="cannot be read"):
        signer.open(f"{note}\nanything at all\n\n{signatures}")


def test_another_key_or_log_is_refused(tmp_path, signer, head):
    other = Signer.create(tmp_path / "other.key", ORIGIN)
    with pytest.raises(AuditError, match="no signature of this log's key"):
        open_checkpoint(signer.sign(head), other.public, ORIGIN)
    with pytest.raises(AuditError, match="not a checkpoint of this log"):
        open_checkpoint(signer.sign(head), signer.public, "elsewhere.example")


@pytest.mark.parametrize("origin", ["", "two words", "a+b", "a\nb", "a\u00a0b"])
def test_names_the_format_cannot_carry_are_refused(tmp_path, origin):
    with pytest.raises(AuditError, match="cannot name a log"):
        Signer.create(tmp_path / "key", origin)


@pytest.mark.parametrize("text", ["", "a+b", "a+00000000+AAAA", "a+zz+?"])
def test_bad_verifier_keys_are_refused(text):
    with pytest.raises(AuditError, match="verifier key"):
        read_verifier_key(text)


def test_every_edit_of_a_verifier_key_is_refused(signer):
    text = signer.verifier
    for at in range(len(text)):
        for other in ("", "A", "b", "1", "+"):
            changed = text[:at] + other + text[at + 1 :]
            if changed != text:
                with pytest.raises(AuditError):
                    read_verifier_key(changed)


def test_the_key_is_readable_by_its_owner_only_and_is_loaded_again(tmp_path, signer, head):
    file = tmp_path / "signing.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Signer.load(file, ORIGIN).open(signer.sign(head)) == head
    (tmp_path / "signing.pub").unlink()
    Signer.load(file, ORIGIN)
    assert (tmp_path / "signing.pub").read_text() == signer.verifier + "\n"


def test_a_key_that_does_not_fit_its_public_half_is_refused(tmp_path, signer):
    Signer.create(tmp_path / "other.key", ORIGIN)
    (tmp_path / "signing.pub").write_bytes((tmp_path / "other.pub").read_bytes())
    with pytest.raises(AuditError, match="not the public half"):
        Signer.load(tmp_path / "signing.key", ORIGIN)
    with pytest.raises(AuditError, match="not the public half"):
        Signer.load(tmp_path / "other.key", "renamed.example")


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_file_is_refused(tmp_path, content):
    (tmp_path / "signing.key").write_bytes(content)
    with pytest.raises(AuditError, match="not a readable signing key"):
        Signer.load(tmp_path / "signing.key", ORIGIN)


def test_a_key_of_another_kind_is_refused(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    pem = X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "signing.key").write_bytes(pem)
    with pytest.raises(AuditError, match="not an Ed25519 key"):
        Signer.load(tmp_path / "signing.key", ORIGIN)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside(tmp_path):
    file = tmp_path / "file"
    write_durably(file, b"old")
    with pytest.raises(TypeError):
        write_durably(file, "not bytes")
    assert file.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["file"]
