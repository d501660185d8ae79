"""What is known of one file so far, while one process after another may die over it.

It owns which member of an archive is to blame for a death: the one that had begun and was not told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assistant.errors import IngestError
from assistant.extraction.extracted import Extracted, Member
from assistant.extraction.wire import decoded


class Reading:
    """One file's text and members, as lines of the process tell them; `until` is when it has to end."""

    def __init__(self, *, until: float) -> None:
        self.until = until
        self._extracted: Extracted | None = None
        self._error: IngestError | None = None
        self._members: list[Member] = []
        self._rest = ""
        self._avoid: list[int] = []
        self._done = 0  # members told or to blame, which are numbered in the order of their beginning
        self._begun: str | None = None

    def wanted(self) -> dict[str, object]:
        """Return what a process is not to read again."""
        return {"done": self._done, "avoid": self._avoid}

    def hear(self, said: Mapping[str, Any]) -> bool:
        """Take in one line; whether it was the last.

        Raises:
            ValueError: it makes no sense.
        """
        if "error" in said:
            message, remedy = said["error"]
            self._error = IngestError(str(message), remedy=str(remedy))
        elif "extracted" in said and "member" not in said:
            self._extracted = decoded(said["extracted"])
        elif "begin" in said:
            self._begun = str(said["begin"])
        elif "member" in said:
            self._settle(decoded(said["extracted"]) if said["extracted"] else None, str(said["reason"]))
        elif "rest" in said:
            self._rest = str(said["rest"])
        return "error" in said or "end" in said

    def died(self, reason: IngestError) -> bool:
        """Take in that the process ended over this; whether another one may go on."""
        if self._extracted is None:
            self._error = reason
        elif self._begun is None:
            self._rest = str(reason)
        else:
            self._avoid.append(self._done)
            self._settle(None, str(reason))
            return True
        return False

    def give_up(self, why: str) -> None:
        """Leave the members that were not yet told."""
        self._rest = why

    def whole(self) -> Extracted:
        """Return everything that was told.

        Raises:
            IngestError: the file itself cannot be read.
        """
        if self._error:
            raise self._error
        if self._extracted is None:
            raise IngestError("The extraction process said nothing of it.")
        rest = (f"Not everything inside was read. {self._rest}",) if self._rest else ()
        return replace(
            self._extracted, members=tuple(self._members), notices=(*self._extracted.notices, *rest)
        )

    def _settle(self, extracted: Extracted | None, reason: str) -> None:
        if self._begun is None:
            raise ValueError("a member that did not begin")
        if extracted or reason:  # a plain archive inside has nothing of its own
            self._members.append(Member(uri=self._begun, extracted=extracted, reason=reason))
        self._done += 1
        self._begun = None
