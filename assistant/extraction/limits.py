"""How much of everything one file may cost."""

from __future__ import annotations

from dataclasses import dataclass

from assistant.errors import IngestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds for one file, and for each file inside an archive.

    Args:
        timeout_s: longest time for one file; an archive has ten times as much in all.
        memory_bytes: address space of a process.
        max_bytes: largest file that is looked at.
        max_characters: largest text that is taken; an archive's may be four times as large in all.
        max_expanded_bytes: what an archive may expand to, nested ones included.
        max_members: files in an archive, nested ones included.
        max_depth: archives within archives; an attachment counts as one level.
    """

    timeout_s: float = 60.0
    memory_bytes: int = 1536 << 20
    max_bytes: int = 200 << 20
    max_characters: int = 20_000_000
    max_expanded_bytes: int = 512 << 20
    max_members: int = 10_000
    max_depth: int = 3

    def processor_s(self, size_bytes: int) -> float:
        """Return the seconds of processor for a file: a small one that takes long is a trap."""
        return min(2 * self.timeout_s, 15 + 15 * size_bytes / (1 << 20))


@dataclass(slots=True, kw_only=True)
class Budget:
    """What reading one file has cost so far."""

    limits: Limits
    expanded_bytes: int = 0
    members: int = 0
    characters: int = 0

    def expand(self, size_bytes: int) -> None:
        """Account for bytes that come out of an archive.

        Raises:
            IngestError: too many.
        """
        self.expanded_bytes += size_bytes
        if self.expanded_bytes > self.limits.max_expanded_bytes:
            raise IngestError(
                f"It expands to more than {self.limits.max_expanded_bytes >> 20} MiB.",
                remedy="Unpack it, and leave out what is no document.",
            )

    def enter(self, members: int) -> None:
        """Account for members of an archive.

        Raises:
            IngestError: too many.
        """
        self.members += members
        if self.members > self.limits.max_members:
            raise IngestError(
                f"It holds more than {self.limits.max_members} files.",
                remedy="Unpack it into a folder and ingest that.",
            )

    def take(self, characters: int, *, inside: bool) -> None:
        """Account for extracted text; `inside`: of a file in an archive.

        Raises:
            IngestError: too much.
        """
        self.characters += characters
        most = self.limits.max_characters
        if characters > most or (inside and self.characters > 4 * most):
            raise IngestError(f"It holds more than {most} characters.", remedy="Split it.")
