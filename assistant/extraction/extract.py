"""Files as text with structure: the front door of extraction.

It owns the worker processes and who gets which; it refuses to trust a file: nothing of one is ever parsed
in this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from queue import LifoQueue
from types import TracebackType

from assistant.errors import IngestError
from assistant.extraction.extracted import Block, Extracted, Member, PageSpan
from assistant.extraction.limits import Limits
from assistant.extraction.worker import Worker

__all__ = ["Block", "Extracted", "Extractor", "Limits", "Member", "PageSpan"]


class Extractor:
    """Takes files apart in processes of its own. Close it, or use it as a context.

    Safe to call from as many threads as there are workers; more wait for a free one. All processes
    together take at most `workers` times `limits.memory_bytes`.

    Args:
        workers: processes, each started when first needed and again after it was ended.
        limits: what one file may cost.
        readers: name of an extractor plug-in (entry point of `assistant.extractors`) by extension.
    """

    def __init__(
        self, *, workers: int = 1, limits: Limits | None = None, readers: Mapping[str, str] | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._workers = [Worker(self._limits, readers=readers) for _ in range(workers)]
        self._free: LifoQueue[Worker] = LifoQueue()  # the warm one first
        for worker in self._workers:
            self._free.put(worker)

    def extract(self, data: bytes, uri: str) -> Extracted:
        """Return the text and structure of a file, and of the files inside it.

        Its kind is told by its content, and by the extension of `uri` where that cannot tell.

        Raises:
            IngestError: of an unknown kind, damaged, encrypted, empty, or over a limit.
        """
        if len(data) > self._limits.max_bytes:
            raise IngestError(
                f"It has {len(data) >> 20} MiB, more than {self._limits.max_bytes >> 20}.", remedy="Split it."
            )
        worker = self._free.get()
        try:
            return worker.read(data, uri)
        finally:
            self._free.put(worker)

    @property
    def starts(self) -> int:
        """How many processes were started so far; each death and each one grown too large costs another."""
        return sum(worker.starts for worker in self._workers)

    @property
    def pids(self) -> list[int]:
        """The numbers of the processes that run now."""
        return [pid for worker in self._workers if (pid := worker.pid)]

    def close(self) -> None:
        """End the worker processes; a later call starts them again."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Extractor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
