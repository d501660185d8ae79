"""Keys and values of prompts' beginnings, kept for later requests that begin alike.

It owns blocks of computed tokens under digests of all that they depend on: adapter, every token before
and in the block and, past what anybody may be sent, the scope of the asker. The same tokens under another
scope are another block, so nothing computed from one person's passages serves another who may not read
them. Blocks are copied in and out of lanes; the one unused for longest makes room.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from assistant.engine.cache import KeyValues
from assistant.engine.lanes import Lane

BLOCK = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the beginning of a prompt depends on, beside its tokens.

    `public` is how many of its first tokens anybody may be sent; `scope` whose the rest is, None if it
    may not be kept.
    """

    adapter: str | None
    public: int
    scope: str | None


class PrefixCache:
    """Blocks of `BLOCK` tokens, at most `size_bytes` of them; none at all below one block's size."""

    def __init__(self, cache: KeyValues, size_bytes: int) -> None:
        shape = cache.shape
        count = size_bytes // (BLOCK * shape.token_bytes)
        size = (count, 2, shape.layers, shape.heads, BLOCK, shape.head_dim)
        self._cache = cache
        self._blocks = torch.empty(size, dtype=shape.dtype, device=shape.device)
        self._kept: OrderedDict[bytes, int] = OrderedDict()
        self._free = list(range(count))[::-1]

    def fetch(self, tokens: Sequence[int], origin: Origin, lane: Lane) -> int:
        """Copy the longest kept beginning into a lane; return its length in tokens.

        At least one token is left over: its logits are needed.
        """
        found = 0
        for digest in self._digests(tokens[:-1], origin):
            number = self._kept.get(digest)
            if number is None:
                break
            self._kept.move_to_end(digest)
            self._cache.read(lane, found, found + BLOCK).copy_(self._blocks[number])
            found += BLOCK
        return found

    def keep(self, tokens: Sequence[int], origin: Origin, lane: Lane) -> None:
        """Keep the whole blocks of `tokens`, which have run in a lane."""
        for place, digest in enumerate(self._digests(tokens, origin)):
            if digest in self._kept:
                self._kept.move_to_end(digest)
                continue
            if not self._free and not self._kept:
                return
            number = self._free.pop() if self._free else self._kept.popitem(last=False)[1]
            self._blocks[number].copy_(self._cache.read(lane, place * BLOCK, (place + 1) * BLOCK))
            self._kept[digest] = number

    def clear(self) -> int:
        """Overwrite all that is kept and forget it; return how many blocks that were."""
        count = len(self._kept)
        self._free += self._kept.values()
        self._kept.clear()
        self._blocks.zero_()
        return count

    def __len__(self) -> int:
        return len(self._kept)

    @staticmethod
    def _digests(tokens: Sequence[int], origin: Origin) -> Iterator[bytes]:
        """Digests of the whole blocks that may be kept, each of all before it too."""
        digest = hashlib.sha256((origin.adapter or "").encode()).digest()
        for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
            stop = start + BLOCK
            scope = "" if stop <= origin.public else origin.scope
            if scope is None:
                return
            block = ",".join(map(str, tokens[start:stop]))
            digest = hashlib.sha256(digest + f"{len(scope)}:{scope}:{block}".encode()).digest()
            yield digest
