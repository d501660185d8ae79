"""Sealed bodies: what was asked and answered, under a key per person.

It owns those keys, which live apart from the database: destroying a person's key makes every body
of theirs unreadable while the log still verifies. AES-256-GCM; the entry's place is authenticated.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from assistant.durable import sync_folder, write_durably
from assistant.errors import AuditError

_NONCE_BYTES = 12
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An encrypted body. `key_id` names the person's key and which of them, if one was destroyed before."""

    key_id: str
    data: bytes

    @property
    def digest(self) -> str:
        """What the entry records, hex: neither the body nor its key's name can change unseen."""
        return hashlib.sha256(self.key_id.encode() + b"\x00" + self.data).hexdigest()


class Vault:
    """Keys of persons in a folder, one file each, named by the hash of the person's id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def seal(self, person: str, plain: bytes, *, bound_to: bytes) -> Sealed:
        """Encrypt under the person's key, creating it if there is none.

        Args:
            bound_to: authenticated but not encrypted; the same bytes must be given to open it.

        Raises:
            AuditError: the person's key file is damaged.
        """
        file = self._file(_name(person))
        if not file.exists():
            write_durably(file, AESGCM.generate_key(bit_length=_KEY_BYTES * 8), mode=0o600)
        key = _read(file)
        nonce = os.urandom(_NONCE_BYTES)
        data = nonce + AESGCM(key).encrypt(nonce, plain, bound_to)
        return Sealed(key_id=f"{_name(person)}.{_mark(key)}", data=data)

    def open(self, sealed: Sealed, *, bound_to: bytes) -> bytes:
        """Decrypt a body.

        Raises:
            AuditError: the key was destroyed, or the body was altered.
        """
        name, _, mark = sealed.key_id.partition(".")
        if not re.fullmatch(r"[0-9a-f]{32}", name):
            raise AuditError("A sealed body names no key: it was altered.")
        file = self._file(name)
        key = _read(file) if file.exists() else b""
        if not key or _mark(key) != mark:
            raise AuditError("This body was erased: its key was destroyed.")
        try:
            return AESGCM(key).decrypt(sealed.data[:_NONCE_BYTES], sealed.data[_NONCE_BYTES:], bound_to)
        except (InvalidTag, ValueError) as error:
            raise AuditError("A sealed body was altered or belongs to another entry.") from error

    def destroy(self, person: str) -> bool:
        """Destroy a person's key: their bodies can never be read again. False if there was none."""
        file = self._file(_name(person))
        if not file.exists():
            return False
        file.unlink()
        sync_folder(self._folder)
        return True

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.key"


def _name(person: str) -> str:
    return hashlib.sha256(person.encode()).hexdigest()[:32]


def _mark(key: bytes) -> str:
    """Tell a person's keys apart without telling anything of the key."""
    return hashlib.sha256(b"assistant key mark\x00" + key).hexdigest()[:8]


def _read(file: Path) -> bytes:
    key = file.read_bytes()
    if len(key) != _KEY_BYTES:
        raise AuditError(f"{file} is damaged: it is no key.", remedy="Restore it from its backup.")
    return key
