"""A question asked in a conversation -> one that stands alone, without calling a model.

It owns the signs that a question leans on an earlier one (it opens with `and` or `what about`, points with
`it` or `those`, or says almost nothing by itself) and what it then takes over: the earlier question's words,
with what the new one puts in their place. It refuses to invent words: all of them were the asker's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from assistant.retrieval.words import content

_LOOKS_BACK = 4
"""Questions a chain of follow-ups is traced through."""
_LONGEST = 60
"""Words of the result: a pasted letter as the earlier question must not drown the new one."""
_LEANING_WORDS = 3
_OPENS = re.compile(
    r"\s*(?:(?:and|but|or|so|also|plus|ok|okay|then|same)\b|(?:what|how) (?:about|if|when)\b)[\s,]*", re.I
)
_POINTS = re.compile(
    r"\b(?:it|its|they|them|their|theirs|this|those|these|he|she|him|her|his|one|ones|same|both|either|neither"
    r"|former|latter|instead|another|others?|else|that)\b",
    re.I,
)
_PREPOSITION = (
    "in|for|at|on|to|from|with|by|as|of|during|after|before|under|over|per|within|without|outside|inside"
)
_PLACE = re.compile(
    rf"(?:(?P<preposition>{_PREPOSITION})\s+)?(?P<name>[^\s?!.,;]+(?:\s+[^\s?!.,;]+){{0,3}})[\s?!.]*", re.I
)
_ENDS = (
    rf"(?:{_PREPOSITION}|is|are|was|were|do|does|did|can|may|must|should|will|and|or|if|when|that|which|who)"
)
_SLOT = rf"\s+(?:(?!{_ENDS}\b)[^\s?!.,;]+\s*){{1,4}}"
_NAME = re.compile(r"(?<=[^\s.?!])\s(?:[A-Z][\w-]*|\w*\d[\w-]*)(?:\s(?:[A-Z][\w-]*|\w*\d[\w-]*))*")


def standalone(question: str, earlier: Sequence[str]) -> str:
    """Return the question as it would be asked without the conversation.

    Args:
        question: the newest question of the asker.
        earlier: the asker's own questions before it, oldest first; answers are not looked at, for what
            stands in them need not be what was asked.
    """
    said = [turn for turn in earlier[-_LOOKS_BACK:] if turn.strip()]
    if not said or not leans(question):
        return question
    before = standalone(said[-1], said[:-1])
    if replaced := _in_its_place(question, before):
        return replaced
    return f"{' '.join(before.split()[:_LONGEST])} {question}"


def leans(question: str) -> bool:
    """Whether a question cannot be understood without the one before it."""
    opening = _OPENS.match(question)
    own = content(question[opening.end() :] if opening else question)
    if opening and len(own) <= 2 * _LEANING_WORDS:
        return True
    if _POINTS.search(question):
        return len(own) <= _LEANING_WORDS
    return len(own) <= 1


def _in_its_place(question: str, before: str) -> str:
    """Return the earlier question about something else (`And in Denmark?`), or nothing if that is not it."""
    opening = _OPENS.match(question)
    place = _PLACE.fullmatch(question[opening.end() :]) if opening else None
    if not place or _POINTS.search(place["name"]):
        return ""
    if place["preposition"]:
        slots = list(re.finditer(rf"\b{place['preposition']}\b{_SLOT}", before, re.I))
        new = f"{place['preposition'].lower()} {place['name']}"
    else:
        slots = list(_NAME.finditer(before)) if re.match(r"[A-Z]|\w*\d", place["name"]) else []
        new = f" {place['name']}"
    if not slots:
        return ""
    last = slots[-1]
    gap = " " if last.group()[-1:].isspace() else ""
    return f"{before[: last.start()]}{new}{gap}{before[last.end() :]}"
