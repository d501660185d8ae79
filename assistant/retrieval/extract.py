"""Files as text with structure: the front door of extraction.

It owns the limits under which a worker process takes a file apart and turns its reply into values. It
refuses to trust a file: nothing of one is ever parsed in this process.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from assistant.errors import IngestError
from assistant.retrieval.extracted import Block, Extracted, PageSpan
from assistant.retrieval.worker import Worker

__all__ = ["Block", "Extracted", "Extractor", "PageSpan"]


class Extractor:
    """Takes files apart, one at a time, in a process of its own. Close it, or use it as a context.

    Args:
        timeout_s: longest time for one file.
        memory_bytes: address space of the process.
        max_bytes: largest file that is looked at.
        max_characters: largest text that is taken.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 60.0,
        memory_bytes: int = 3 << 30,
        max_bytes: int = 200 << 20,
        max_characters: int = 20_000_000,
    ) -> None:
        self._worker = Worker(timeout_s=timeout_s, memory_bytes=memory_bytes)
        self._max_bytes = max_bytes
        self._max_characters = max_characters

    def extract(self, data: bytes, uri: str) -> Extracted:
        """Return the text and structure of a file; `uri` tells its format by its extension.

        Raises:
            IngestError: of an unknown kind, damaged, encrypted, empty, or over a limit.
        """
        if len(data) > self._max_bytes:
            raise IngestError(
                f"It has {len(data) >> 20} MiB, more than {self._max_bytes >> 20}.", remedy="Split it."
            )
        extracted = _value(self._worker.ask(data, uri))
        if len(extracted.text) > self._max_characters:
            raise IngestError(
                f"It holds {len(extracted.text)} characters, more than {self._max_characters}.",
                remedy="Split it.",
            )
        return extracted

    def close(self) -> None:
        """End the worker process."""
        self._worker.close()

    def __enter__(self) -> Extractor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _value(reply: dict[str, Any]) -> Extracted:
    try:
        blocks = tuple(Block(**block) for block in reply.pop("blocks"))
        pages = tuple(PageSpan(**page) for page in reply.pop("pages"))
        return Extracted(blocks=blocks, pages=pages, **reply)
    except (KeyError, TypeError) as error:
        raise IngestError(f"The extraction process gave no text: {error}.") from error
