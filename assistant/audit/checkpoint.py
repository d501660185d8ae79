"""Signed tree heads as C2SP checkpoints: a text note with an Ed25519 signature.

It owns the signing key's file and the note format (c2sp.org/tlog-checkpoint, c2sp.org/signed-note);
it refuses to say anything about entries.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from assistant.durable import write_durably
from assistant.errors import AuditError

_ED25519 = b"\x01"
_ALTERED = "Compare it with a copy kept elsewhere; nothing is answered until it is understood."


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """What a checkpoint says: the log's name, its number of entries and their root hash."""

    origin: str
    size: int
    root: bytes

    @property
    def note(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Signer:
    """Signs and opens checkpoints of one log with the key in a file of its own (mode 0600)."""

    def __init__(self, key: Ed25519PrivateKey, origin: str) -> None:
        if not re.fullmatch(r"[^\s+]+", origin):
            raise AuditError(f"{origin!r} cannot name a log.", remedy="Use a name without spaces and `+`.")
        self._key = key
        self.origin = origin
        self.public = key.public_key()

    @classmethod
    def load(cls, file: Path, origin: str) -> Signer:
        """Load the key. Its public half stands beside it (`.pub`) for verifiers, and is restored if lost.

        Raises:
            AuditError: no readable Ed25519 private key, or its `.pub` is of another one.
        """
        remedy = "Restore it from its backup; a new key cannot continue the log."
        try:
            key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise AuditError(f"{file} is not a readable signing key: {error}.", remedy=remedy) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise AuditError(f"{file} is not an Ed25519 key.", remedy=remedy)
        signer = cls(key, origin)
        public = file.with_suffix(".pub")
        if not public.exists():
            signer.publish(public)
        elif public.read_text(encoding="utf-8", errors="replace").strip() != signer.verifier:
            raise AuditError(f"{public} is not the public half of {file.name}.", remedy=remedy)
        return signer

    @classmethod
    def create(cls, file: Path, origin: str) -> Signer:
        """Make a new key, readable by its owner only, and its public half beside it."""
        key = Ed25519PrivateKey.generate()
        signer = cls(key, origin)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_durably(file, pem, mode=0o600)
        signer.publish(file.with_suffix(".pub"))
        return signer

    @property
    def verifier(self) -> str:
        """The public key as a C2SP verifier key."""
        return verifier_key(self.public, self.origin)

    def publish(self, file: Path) -> None:
        """Write the public half, to hand to an auditor."""
        write_durably(file, f"{self.verifier}\n".encode())

    def sign(self, head: TreeHead) -> str:
        """Return the checkpoint: the note, a blank line, one signature line."""
        signature = self._key.sign(head.note.encode())
        line = base64.b64encode(_key_id(self.public, self.origin) + signature).decode()
        return f"{head.note}\n— {self.origin} {line}\n"

    def open(self, checkpoint: str) -> TreeHead:
        """Check a checkpoint's signature with this log's key and return what it says."""
        return open_checkpoint(checkpoint, self.public, self.origin)


def open_checkpoint(checkpoint: str, public: Ed25519PublicKey, origin: str) -> TreeHead:
    """Verify and parse a checkpoint with nothing but a public key.

    Strict: there is one text only for what is said and signed, so any edit is an error. Well-formed
    signature lines of other keys (witnesses) are skipped, as the format asks.

    Raises:
        AuditError: malformed, of another log, or not signed by this key.
    """
    text, separator, signatures = checkpoint.rpartition("\n\n")
    try:
        if not separator or not signatures.endswith("\n"):
            raise ValueError("it is not a signed note")
        head = _parse_note(f"{text}\n", origin)
        wanted = _key_id(public, origin)
        signed = False
        for line in signatures[:-1].split("\n"):
            name, raw = _parse_signature(line)
            if name == origin and raw[:4] == wanted:
                public.verify(raw[4:], head.note.encode())
                signed = True
        if not signed:
            raise ValueError("it holds no signature of this log's key")
    except ValueError as error:
        raise AuditError(f"The checkpoint cannot be read: {error}.", remedy=_ALTERED) from error
    except InvalidSignature as error:
        raise AuditError("The checkpoint's signature is wrong: it was altered.", remedy=_ALTERED) from error
    return head


def _parse_note(note: str, origin: str) -> TreeHead:
    """Parse the signed text; it must be exactly what this log would have written."""
    lines = note.split("\n")
    if lines[0] != origin or len(lines) != 4:
        raise ValueError("it is not a checkpoint of this log")
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise ValueError("its size is not a number")
    head = TreeHead(origin=origin, size=int(lines[1]), root=_decoded(lines[2]))
    if head.note != note or len(head.root) != 32:
        raise ValueError("its root is not a SHA-256 hash")
    return head


def _parse_signature(line: str) -> tuple[str, bytes]:
    """Split a signature line into the key's name and what was encoded: key id, then signature."""
    match = re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/=]+)", line)
    if match is None:
        raise ValueError("a signature line is malformed")
    raw = _decoded(match.group(2))
    if len(raw) < 5:
        raise ValueError("a signature is too short")
    return match.group(1), raw


def _decoded(text: str) -> bytes:
    """Decode base64 that has only one spelling: unused bits must be zero."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("its base64 is not canonical")
    return raw


def verifier_key(public: Ed25519PublicKey, origin: str) -> str:
    """Return the public key as a C2SP verifier key `name+id+key`, to hand to an auditor."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f"{origin}+{_key_id(public, origin).hex()}+{base64.b64encode(_ED25519 + raw).decode()}"


def read_verifier_key(text: str) -> tuple[str, Ed25519PublicKey]:
    """Parse a C2SP verifier key into the log's name and its public key.

    Raises:
        AuditError: not a verifier key.
    """
    try:
        origin, key_id, encoded = text.strip().split("+", 2)
        raw = _decoded(encoded)
        public = Ed25519PublicKey.from_public_bytes(raw[1:])
        if raw[:1] != _ED25519 or _key_id(public, origin).hex() != key_id:
            raise ValueError("the key does not match its identifier")
    except ValueError as error:
        raise AuditError(f"Not a verifier key: {error}.", remedy="Its form is NAME+ID+KEY.") from error
    return origin, public


def _key_id(public: Ed25519PublicKey, origin: str) -> bytes:
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + raw).digest()[:4]
