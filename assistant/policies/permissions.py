"""Which access classes a person may read: the one way from a user to a set of chunks.

It owns remembering what Cedar decided. A class never changes, so a decision holds for as long as the
person's principals and the policies do: only classes that are new are asked about, and a changed group or
policy asks anew. It refuses to answer from memory alone: every call looks at the policies and at the set of
classes as they are now, and an error in either is an error, never an older answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from assistant.policies.access import Access
from assistant.types import AccessClass, User

_PEOPLE_KEPT = 256
"""At 5,000 readable classes a person's set takes about 0.3 MB."""


class ClassSet(Protocol):
    """The access classes there are: `assistant.store.documents.Documents`."""

    def class_changes(self) -> int:
        """Return how often a class came or went."""
        ...

    def class_ids(self) -> frozenset[int]:
        """Return the ids of all classes."""
        ...

    def classes(self, above: int = 0) -> Iterable[AccessClass]:
        """Return the classes with ids above `above`, in their order. Ids grow and are never used again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """What a person may read of the set after so many `changes`, decided for ids up to `up_to`."""

    changes: int = -1
    up_to: int = 0
    ids: frozenset[int] = frozenset()


class Permissions:
    """Permitted sets, remembered for the people who asked last. Safe to call from several threads."""

    def __init__(self, access: Callable[[], Access], known: ClassSet) -> None:
        """Take what returns today's policies, and the set of classes."""
        self._access, self._known = access, known
        self._decided: OrderedDict[object, _Decided] = OrderedDict()
        self._lock = threading.Lock()

    def permitted(self, user: User) -> frozenset[int]:
        """Return the ids of the access classes this user may read now.

        Raises:
            ConfigError: the policies cannot be read; nobody may read anything.
            StoreError: the classes cannot be read.
        """
        access = self._access()
        key = (access.digest, user.id, user.department, user.groups, frozenset(user.attributes.items()))
        with self._lock:
            decided = self._decided.get(key, _Decided())
        changes = self._known.class_changes()  # first: what is read after it may be newer, never older
        if decided.changes != changes:
            decided = self._decide(access, user, decided, changes)
        with self._lock:
            self._decided[key] = decided
            self._decided.move_to_end(key)
            if len(self._decided) > _PEOPLE_KEPT:
                self._decided.popitem(last=False)
        return decided.ids

    def _decide(self, access: Access, user: User, before: _Decided, changes: int) -> _Decided:
        """Ask about the classes that came, and let go of those that went."""
        living = self._known.class_ids()
        new = tuple(self._known.classes(before.up_to))
        return _Decided(
            changes=changes,
            up_to=new[-1].id if new else before.up_to,
            ids=(before.ids & living) | access.permitted(user, new),
        )
