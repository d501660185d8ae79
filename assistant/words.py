"""Words of a text, as support checks and evidence need them: stems, stop words, figures, sentences.

Deliberately small and for English first; it refuses to be a language library. Other languages pass
through unstemmed, which lowers recall of the checks, never their safety.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = re.compile(r"[^\W_]+(?:[-'’.,:/][^\W_]+)*")
_CITATION = re.compile(r"\s*\[\d+\]")
_MARKER = re.compile(r"^\s*(?:\d{1,3}[.)]|\([a-z]\)|[-*•])\s+", re.M)
_END = re.compile(r"[.!?][\"”’)*`]*(?:[^\S\n]*\[\d+\][.]?)*(?=\s+[^\s\[])|\n+")
_NOT_AN_END = re.compile(
    r"(?:(?:^|\n)\s*(?:\d{1,3}|[a-z])|(?:^|\s|\()(?:[a-z]|e\.g|i\.e|approx|ca|cf|dr|eq|excl|ext|fig|incl|max|min"
    r"|mr|mrs|ms|nos?|art|pp?|prof|resp|sec|st|tel|vol|vs))\.$",
    re.I,
)
_SUFFIXES = ("ations", "ation", "ings", "ing", "edly", "ed", "ies", "es", "ly", "s", "e")
_COUNTED = re.compile(r"(\d[\d.,]*)-[^\W\d_]{3,}(?:-[^\W\d_]+)*")
_MEASURED = re.compile(
    r"\b([a-z]+(?:-[a-z]+)?)[ -](?:(?:more|full|whole|working|business|calendar|consecutive|clear) )?"
    r"(?:second|minute|hour|day|night|week|fortnight|month|quarter|year|time|per ?cent|euro|dollar|pound|cent"
    r"|kilo|metre|meter|mile|gram|ton|litre|liter|degree|hundred|thousand|million|billion)"
)
_TIMED = re.compile(
    r"\b(\d+(?:[.,]\d+)*|[a-z]+(?:-[a-z]+)?)[ -](?:(?:more|full|whole|further|paid|working|business|calendar"
    r"|consecutive|clear) )*(second|minute|hour|day|night|week|fortnight|month|quarter|year)s?\b"
)
_TENS = {
    word: str(number)
    for number, word in enumerate(
        """two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen""".split(),
        2,
    )
} | {
    word: str(number * 10)
    for number, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}

STOP_WORDS = frozenset(
    """a about after again all also am an and any anyone are as at be because been before being between both
    but by can could did do does doing done down during each either for from further get gets give given go
    goes going got had has have having he her here hers him his how however i if in into is it its itself just
    let like long made make many may me might more most much must my need no nor not now of off on once one
    only or other our ours out over own per please same shall she should so some someone such take tell than
    that the their them then there these they thing things this those through to too under until up upon us
    use used using very want was we were what when where which while who whom whose why will with within
    without would yes you your yours""".split()
)


def stem(word: str) -> str:
    """Strip one common English suffix from a lower-case word of five letters or more."""
    if len(word) < 5 or any(c.isdigit() for c in word):
        return word
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word


def content_words(text: str) -> list[str]:
    """Return the stems of the words that carry meaning, in order, citations and list markers left out."""
    plain = _MARKER.sub("", _CITATION.sub("", text)).lower()
    words = (match.group().replace("’", "'") for match in _WORD.finditer(plain))
    return [stem(word.removesuffix("'s")) for word in words if word not in STOP_WORDS]


def figures(text: str) -> set[str]:
    """Return numbers, dates, codes and amounts: the words that hold a digit, thousands unpunctuated.

    A number written out is one in front of a measure (`three months`), and so is the one of `4-month`.
    """
    plain = _CITATION.sub("", text).lower()
    found: set[str] = set()
    for match in _WORD.finditer(plain):
        word = match.group()
        if any(c.isdigit() for c in word):
            counted = _COUNTED.fullmatch(word)
            found.add(re.sub(r"(?<=\d)[,\s](?=\d{3})", "", counted.group(1) if counted else word))
    found.update(number for match in _MEASURED.finditer(plain) if (number := _spelled(match.group(1))))
    return found


def measures(text: str) -> set[tuple[str, str]]:
    """Return spans of time as (number, unit in the singular): `25 working days` is `("25", "day")`."""
    found = set()
    for match in _TIMED.finditer(_CITATION.sub("", text).lower()):
        number = match.group(1) if match.group(1)[0].isdigit() else _spelled(match.group(1))
        if number:
            found.add((number, match.group(2)))
    return found


def numbers(text: str) -> set[str]:
    """Return what figures a text can bear out: its own, and any number written out."""
    return figures(text) | {n for m in _WORD.finditer(text.lower()) if (n := _spelled(m.group()))}


def without_markers(text: str) -> str:
    """Return the text without the markers of list items, whose numbers are no figures."""
    return _MARKER.sub("", text)


def _spelled(word: str) -> str | None:
    """Return the digits of a number written out (`twenty-four`), also in front of a word (`two-week`)."""
    first, _, second = word.partition("-")
    number = _TENS.get(first)
    unit = _TENS.get(second.partition("-")[0]) or ("1" if second == "one" else None)
    if number and number.endswith("0") and number != "10" and unit and len(unit) == 1:
        return number[:-1] + unit
    return number


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield spans that cover `text`: sentences with the white space and citations that follow them."""
    start = 0
    for match in _END.finditer(text):
        end = match.end()
        while end < len(text) and text[end].isspace():
            end += 1
        if match.group()[0] == "." and text[end].islower() and "\n" not in text[match.end() : end]:
            continue
        if match.group()[0] != "\n" and _NOT_AN_END.search(text[start : match.start() + 1]):
            continue
        if end > start:
            yield start, end
            start = end
    if start < len(text):
        yield start, len(text)
