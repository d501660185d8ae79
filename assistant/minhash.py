"""How alike texts are, told from small sketches of them.

It owns what a text is compared by and how candidates for a comparison are found among many; it refuses to
keep anything, or to say from how much likeness on two texts are the same.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

SIZE = 128
"""Hashes in a sketch: one of a likeness of 0.8 errs by 0.035, those of texts that short by nothing."""
BANDS, ROWS = 8, 4
"""Texts of a likeness of 0.8 share a band with a chance of 0.985, of 0.9 with 0.9999, of 0.5 with 0.4."""
_WORD = 8  # bytes; pieces are two of them: about three words, or five ideographs
_DROPPED = bytes(code for code in range(128) if not chr(code).isalnum())
_QUOTES = re.compile(rb"\xe2[\x80\x81][\x80-\xbf]")  # dashes, quotes and spaces beyond ASCII: U+2000 on
_MANY = 4096
_ODD = np.random.default_rng(20).integers(0, 2**63, size=1 + BANDS * ROWS, dtype=np.uint64) * 2 + 1
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_HALF = np.uint64(33)


def sketch(text: str) -> Hashes:
    """Return the smallest hashes of a text's pieces, distinct and in order; none of a text without letters.

    A bottom-k sketch (Cohen and Kaplan 2007) of all runs of sixteen bytes, of letters and digits alone and
    in one case: layout, punctuation and the language's way to part words do not count. It costs a dozen
    passes over the text in numpy.
    """
    data = _QUOTES.sub(b"", text.casefold().encode("utf-8", "replace").translate(None, _DROPPED))
    if not data:
        return np.empty(0, dtype=np.uint64)
    data = data.ljust(2 * _WORD, b"\0")
    words = np.ndarray(len(data) - _WORD + 1, dtype="<u8", buffer=data, strides=(1,))  # one at each byte
    hashes = words[:-_WORD] * _ODD[0]
    hashes ^= hashes >> _HALF
    hashes += words[_WORD:]
    return _smallest(_mixed(hashes))


def alike(one: Hashes, other: Hashes) -> float:
    """Estimate the Jaccard similarity of two texts' pieces from their sketches; 0 where one has none."""
    if not len(one) or not len(other):
        return 0.0
    every = np.sort(np.concatenate([one, other]))
    again = every[1:] == every[:-1]
    union = _distinct(every)[:SIZE]
    return int(np.count_nonzero(every[1:][again] <= union[-1])) / len(union)


def bands(sketched: Hashes) -> list[int]:
    """Return what texts that are alike have one of in common: `BANDS` numbers of 63 bits; none of no text.

    Each joins the smallest of the sketch under `ROWS` hash functions (Broder 1997; Leskovec et al.,
    "Mining of Massive Datasets", 3.4).
    """
    if not len(sketched):
        return []
    smallest = (sketched[:, None] * _ODD[1:]).min(axis=0).reshape(BANDS, ROWS)
    joined = np.arange(BANDS, dtype=np.uint64)
    for row in range(ROWS):
        joined = _mixed(joined * _ODD[0] + smallest[:, row])
    return [int(value) for value in joined >> np.uint64(1)]


def pack(sketched: Hashes) -> bytes:
    """Return a sketch as bytes, little-endian."""
    return sketched.astype("<u8").tobytes()


def unpack(data: bytes) -> Hashes:
    """Return the sketch of its bytes."""
    return np.frombuffer(data, dtype="<u8").astype(np.uint64)


def _smallest(hashes: Hashes) -> Hashes:
    if len(hashes) > _MANY:  # repeats may fill them up: then the rest is looked at too
        few = _distinct(np.partition(hashes, 4 * SIZE)[: 4 * SIZE])
        if len(few) >= SIZE:
            return few[:SIZE]
    return _distinct(hashes)[:SIZE]


def _distinct(hashes: Hashes) -> Hashes:
    """Return hashes in order, each once: as `np.unique`, in a third of its time."""
    ordered = np.sort(hashes)
    distinct: Hashes = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    return distinct


def _mixed(hashes: Hashes) -> Hashes:
    """Spread every bit over all of them, in place (the finaliser of MurmurHash3)."""
    for factor in _MIX:
        hashes ^= hashes >> _HALF
        hashes *= factor
    hashes ^= hashes >> _HALF
    return hashes
