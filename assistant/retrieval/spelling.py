"""Which word of the documents a misspelt one means.

It owns the distance between words and what is never touched: identifiers and numbers, short words, and
words that are words. It sees only the vocabulary it is handed, which is that of documents the asker may
read; it refuses to know of any index.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SHORTEST = 5
_LONG = 8
_ENDING = 5
_ENDING_COSTS = 0.5
_LETTERS_PER_EDIT = 5
_PREFIX = 2
_PLAIN = re.compile(r"[^\W\d_]+")


def correctable(word: str) -> bool:
    """Whether a word could be misspelt: letters only, and enough of them to tell what was meant."""
    return len(word) >= _SHORTEST and bool(_PLAIN.fullmatch(word))


def beginning(word: str) -> str:
    """Return the letters that are taken to be right; errors in the first two are rare."""
    return word[:_PREFIX]


def meant(word: str, terms: Mapping[str, int]) -> str | None:
    """Return the stem that is nearest to a word, the more frequent of two equally near; None if none is.

    One edit is allowed, two in a word of eight letters. The word's ending may be missing from the stem; then
    one in five of the stem's letters.

    Args:
        word: lower case, as written.
        terms: stems that may have been meant, with the number of chunks that hold each.
    """
    allowed = (2 if len(word) >= _LONG else 1) + _ENDING_COSTS
    best = min(
        (
            (_distance(word, term), -count, term)
            for term, count in terms.items()
            if len(term) >= _SHORTEST - 1
        ),
        default=None,
    )
    return best[2] if best and best[0] <= allowed else None


def respelled(question: str, spelled: Mapping[str, str]) -> str:
    """Return the question with the words that were meant; the case of the others stays."""
    if not spelled:
        return question
    pattern = "|".join(re.escape(word) for word in spelled)
    return re.sub(rf"\b(?:{pattern})\b", lambda word: spelled[word.group().lower()], question, flags=re.I)


def _distance(word: str, term: str) -> float:
    """Edits from a word, or from a word without its ending, to a stem; two swapped letters are one edit."""
    if not -2 <= len(word) - len(term) <= _ENDING + 2:
        return float("inf")
    before, row = list(range(len(word) + 1)), list(range(len(word) + 1))
    for i, own in enumerate(term, 1):
        earlier, before, row = before, row, [i, *([0] * len(word))]
        for j, letter in enumerate(word, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (own != letter))
            if i > 1 and j > 1 and own == word[j - 2] and term[i - 2] == letter:
                row[j] = min(row[j], earlier[j - 2] + 1)
    shortened = min(row[max(0, len(word) - _ENDING) : -1], default=len(word))
    if shortened > len(term) // _LETTERS_PER_EDIT:
        return float(row[-1])
    return min(float(row[-1]), shortened + _ENDING_COSTS)
