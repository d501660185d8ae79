"""RFC 6962 Merkle trees: leaf and node hashes, roots, inclusion and consistency proofs.

Pure functions over hashes; it owns no storage and knows no entries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Hash one leaf (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into their parent (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the perfect subtrees of a growing tree, enough to append and to know the root.

    Append costs O(1) amortised hashes, the root O(log n).
    """

    __slots__ = ("_roots", "size")

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._roots: list[bytes] = []
        for leaf in leaves:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the right."""
        carry, size = leaf, self.size
        while size & 1:
            carry = node_hash(self._roots.pop(), carry)
            size >>= 1
        self._roots.append(carry)
        self.size += 1

    def root(self) -> bytes:
        """Merkle tree hash of all leaves so far."""
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node_hash(left, root)
        return root

    def copy(self) -> Frontier:
        """Return an independent frontier of the same tree."""
        twin = Frontier()
        twin.size, twin._roots = self.size, list(self._roots)
        return twin


def root(leaves: Sequence[bytes]) -> bytes:
    """Merkle tree hash of a list of leaf hashes."""
    return Frontier(leaves).root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Audit path of leaf `index` in the tree of `leaves`, leaf side first (RFC 6962, 2.1.1)."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"no leaf {index} in a tree of {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), root(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), root(leaves[:split])]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Root that an inclusion proof leads to (RFC 9162, 2.1.3.2).

    Raises:
        ValueError: the proof's length does not fit index and size.
    """
    if not 0 <= index < size:
        raise ValueError("index outside the tree")
    position, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ValueError("proof is too long")
        if position & 1 or position == last:
            result = node_hash(sibling, result)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise ValueError("proof is too short")
    return result


def consistency_proof(leaves: Sequence[bytes], first: int) -> list[bytes]:
    """Proof that the tree of the first `first` leaves is a prefix of this one (RFC 6962, 2.1.2)."""
    if not 0 < first <= len(leaves):
        raise ValueError(f"no tree of {first} within {len(leaves)}")
    return _subproof(leaves, first, complete=True)


def _subproof(leaves: Sequence[bytes], first: int, *, complete: bool) -> list[bytes]:
    if first == len(leaves):
        return [] if complete else [root(leaves)]
    split = _split(len(leaves))
    if first <= split:
        return [*_subproof(leaves[:split], first, complete=complete), root(leaves[split:])]
    return [*_subproof(leaves[split:], first - split, complete=False), root(leaves[:split])]


def check_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether `proof` shows tree `first` to be a prefix of tree `second` (RFC 9162, 2.1.4.2)."""
    if first == second:
        return first_root == second_root and not proof
    if not 0 < first < second:
        return False
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _split(size: int) -> int:
    """Largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
