"""Words of a text, the same way for indexing, searching and judging evidence.

It owns the analyser (words, numbers with their separators, lower case, accents folded, English stems)
and the list of words that carry no content; it refuses to know of any index.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from functools import cache, lru_cache

from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

ANALYSER = "words"
_WORD = r"[\p{L}\p{N}_]+(?:[-./:,][\p{L}_]*\p{N}[\p{L}\p{N}_]*)*"
"""A word; what follows a separator belongs to it when it holds a digit: `INV-2024-0031`, `1,250.50`."""
_NUMBER = r"[\d\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2089\u2150-\u2189\u2460-\u249b]"
_SAME_WORD = re.compile(rf"\w+(?:[-./:,](?=\w*{_NUMBER})\w+)*")
"""The same for Python: cutting a chunk here and looking its words up is ten times as fast as analysing it."""
_WORDS_KEPT = 1 << 17

_EMPTY = """
a about above after again all also am an and any anyone anything are as at be because been before being
below between both but by can cannot could d did do does doing done down during each either else ever
every few for from further get gets getting give go goes going got had has have having he her here hers
him his how however i if in into is isn it its itself just know let like ll long m many may me might mine
more most much must my myself need needs no nor not now of off often on once one only or other our ours
out over own per please quite rather re s same shall she should so some such t tell than that the their
theirs them then there these they this those through to too under until up us ve very want was we were
what whatever when whenever where which while who whom whose why will with within without would yes yet
you your yours
"""


@cache
def analyser() -> TextAnalyzer:
    """Return the one analyser of this project."""
    builder = TextAnalyzerBuilder(Tokenizer.regex(_WORD))
    for step in (Filter.remove_long(64), Filter.lowercase(), Filter.ascii_fold(), Filter.stemmer("english")):
        builder = builder.filter(step)
    return builder.build()


def stems(text: str) -> list[str]:
    """Stems of all words of a text, in order."""
    return [stem for word in _SAME_WORD.findall(text) if (stem := _stem(word))]


@lru_cache(maxsize=_WORDS_KEPT)
def _stem(word: str) -> str:
    """Return the stem of one word; of what the analyser drops, nothing."""
    return "".join(analyser().analyze(word))


def content(text: str) -> list[str]:
    """Distinct stems of the words that carry content, in order; of a text without any, all its stems."""
    distinct = list(dict.fromkeys(stems(text)))
    return [stem for stem in distinct if stem not in _empty()] or distinct


def asked(text: str) -> list[str]:
    """Stems of the words that carry content, as often as they stand there; else as `content`.

    What a long question says three times is what it is about.
    """
    return [stem for stem in stems(text) if stem not in _empty()] or content(text)


def written(text: str) -> dict[str, str]:
    """Words of a text as they are written, in order, with the stem of each; the first of several forms."""
    forms: dict[str, str] = {}
    for word in _SAME_WORD.findall(text):
        if stem := _stem(word):
            forms.setdefault(stem, word)
    return forms


def coverage(text: str, rarity: Mapping[str, float]) -> float:
    """Share in [0, 1] of a question's words that a text holds, rare words weighing more.

    Args:
        rarity: inverse document frequency of each of the question's stems.
    """
    return covered(set(stems(text)), rarity)


def covered(there: Set[str], rarity: Mapping[str, float]) -> float:
    """Return the same of the stems of a text."""
    total = sum(rarity.values())
    return sum(value for stem, value in rarity.items() if stem in there) / total if total else 0.0


@cache
def _empty() -> frozenset[str]:
    return frozenset(stems(_EMPTY))
