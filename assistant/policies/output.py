"""What happens to an answer on its way out, sentence by sentence, the same streamed or not.

A gate takes the model's text in pieces and releases whole sentences: supported ones with their
citations, links only to allowed hosts, nothing at all before the first supported sentence. It owns
citations; it never asks the model again. Its decisions are logged in clear, so they quote no text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assistant.policies.grounding import quote, said, supporting
from assistant.policies.layout import Flow, is_rule, split_marker, with_citations
from assistant.policies.links import REMOVED, Links, visible
from assistant.policies.rules import Facts, decided
from assistant.policies.schema import Disclaimer, LinkAllowlist, RequireCitations, Rule
from assistant.types import Citation, Decision
from assistant.words import figures, sentence_spans

_CITATION = re.compile(r"\s*\[(\d+)\]")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w-]+")
_ENDED = re.compile(r"[.!?][\"”’)*`]*(?:\s*\[\d+\])*[.]?\s*$|\n\s*$")
_FRAGMENT = re.compile(r"\W*\w+:(?:\s+\w+){1,2}")  # a label and a word or two, left hanging
_ROUNDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the gate ended: `text` is the last piece to release; `abstained` that nothing was supported."""

    text: str
    citations: tuple[Citation, ...]
    decisions: tuple[Decision, ...]
    abstained: bool


class Gate:
    """Applies the output rules of one question to the text of one answer."""

    def __init__(self, rules: Sequence[Rule], facts: Facts) -> None:
        self._facts = facts
        texts = [passage.chunk.text for passage in facts.passages]
        cite = [(r, r.check) for r in rules if isinstance(r.check, RequireCitations)]
        links = [(r, r.check) for r in rules if isinstance(r.check, LinkAllowlist)]
        self._cite = max((each for each in cite if _enforced(each)), key=lambda x: x[1].support, default=None)
        self._shadow_cite = [each for each in cite if not _enforced(each)]
        self._links = [(rule, Links(check.hosts, texts)) for rule, check in links]
        self._disclaimers = [r for r in rules if isinstance(r.check, Disclaimer)]
        self._buffer = ""
        self._sentence = 0
        self._flow = Flow(open=self._cite is None)
        self._seen: set[str] = set()
        self._said_words: set[str] = set()
        self._citations: dict[tuple[int, int, int], Citation] = {}
        self._decisions: dict[tuple[str, str], Decision] = {}

    def push(self, text: str) -> str:
        """Take more of the model's text; return what may be released now, often nothing."""
        self._buffer += text
        *whole, last = [self._buffer[a:b] for a, b in sentence_spans(self._buffer)] or [""]
        self._buffer = last
        return "".join(self._passed(sentence) for sentence in whole)

    def finish(self, *, cut: bool = False) -> Outcome:
        """Check what is left and add disclaimers.

        Args:
            cut: the model was stopped at its token limit; a sentence it had begun is left out, unless it
                is all there is.
        """
        if cut and self._flow.open and not _ENDED.search(self._buffer):
            self._buffer = ""
        tail = self._passed(self._buffer)
        self._buffer = ""
        tail += self._released(self._flow.rest())
        if not self._flow.open and self._cite:
            self._note(decided(self._cite[0], "no sentence of the answer is supported by a passage"))
            return self._outcome("", abstained=True)
        for rule in self._disclaimers:
            self._note(decided(rule, "added below the answer"))
            if rule.mode == "enforce":
                tail += self._flow.below(rule.text)
        return self._outcome(tail, abstained=False)

    def _outcome(self, text: str, *, abstained: bool) -> Outcome:
        citations = () if abstained else tuple(self._citations.values())
        return Outcome(
            text=text, citations=citations, decisions=tuple(self._decisions.values()), abstained=abstained
        )

    def _passed(self, raw: str) -> str:
        """Take a whole sentence with the white space behind it; code blocks are kept together."""
        block = self._flow.gathered(raw)
        return self._released(block) if block is not None else ""

    def _released(self, block: str) -> str:
        """Check a sentence or code block and hand it to the flow of the text."""
        space = block[len(block.rstrip()) :]
        marker, text = "", block.strip()
        if self._flow.at_line_start:
            marker, text = split_marker(text, self._flow.item)
        text, supported = self._checked(text)
        return self._flow.add(marker, text, space, supported=supported)

    def _checked(self, raw: str) -> tuple[str, bool]:
        """Return what may stand of a sentence, with its citations, and whether a passage supports it."""
        if not raw:
            return "", False
        self._sentence += 1
        claimed = [int(number) for number in dict.fromkeys(_CITATION.findall(visible(raw)))]
        text = self._linked(raw)
        for rule, check in self._shadow_cite:
            self._cited(_plain(text), claimed, rule, check)
        if self._cite is None:
            return self._quoted(text), False
        rule, check = self._cite
        plain = text.strip()
        if not re.search(r"\w", plain):
            return (plain if self._flow.released_last and is_rule(plain) else ""), False
        key = " ".join(re.findall(r"\w+", plain.lower()))
        if key and key in self._seen:
            return "", False
        self._seen.add(key)
        numbers = self._cited(plain, claimed, rule, check)
        if numbers is None or (numbers and check.once and self._repeats(plain)):
            return "", False
        if not numbers and _FRAGMENT.fullmatch(plain):
            return "", False
        for number in numbers:
            self._cite_passage(plain, number)
        return with_citations(plain, numbers), bool(numbers)

    def _linked(self, text: str) -> str:
        """Take out links that are not allowed and, where they are set anew, citations.

        Taking one thing out can make another of what is left: so both, until nothing changes.
        """
        before = None
        for _ in range(_ROUNDS):
            if text == before:
                return text
            before = text
            text = _plain(text) if self._cite else self._known(visible(text))
            for rule, links in self._links:
                clean, hosts = links.redact(text)
                for host in hosts:
                    self._note(decided(rule, f"a link to {host} was removed"))
                text = clean if rule.mode == "enforce" else text
        return REMOVED

    def _known(self, text: str) -> str:
        """Take out citations of passages that are not there, where the model's own are left."""
        count = len(self._facts.passages)
        return _CITATION.sub(lambda m: m.group() if 1 <= int(m.group(1)) <= count else "", text)

    def _quoted(self, text: str) -> str:
        """Note what the model's own citations quote."""
        for number in _CITATION.findall(text):
            self._cite_passage(_plain(text), int(number))
        return text

    def _cite_passage(self, sentence: str, number: int) -> None:
        citation = quote(sentence, self._facts.passages[number - 1], number)
        self._citations.setdefault((number, citation.start, citation.end), citation)

    def _cited(
        self, plain: str, claimed: Sequence[int], rule: Rule, check: RequireCitations
    ) -> list[int] | None:
        """Return the passages that support a sentence; none if it needs none; None if it may not stand."""
        checkable = plain.replace(REMOVED, " ")
        numbers = supporting(checkable, self._facts.passages, claimed, check.support)
        if numbers or not (claimed or self._states(checkable)):
            return numbers
        if checkable.strip():
            reason = f"no passage supports sentence {self._sentence} of the model's text"
            self._note(replace(decided(rule, reason), action="drop", text=""))
        return None

    def _states(self, sentence: str) -> bool:
        """Whether an unsupported sentence states something checkable: a figure, or a name not asked about."""
        names = {name.lower() for name in _NAME.findall(sentence)}
        return bool(figures(sentence) or names - set(self._facts.question.lower().split()))

    def _repeats(self, sentence: str) -> bool:
        """Whether a supported sentence says nothing, but for one word, that earlier ones did not."""
        saying = said(sentence)
        new = saying.words - self._said_words
        repeats = len(new) <= 1 and not (new & saying.figures) and len(saying.words) > 1
        self._said_words |= saying.words
        return repeats

    def _note(self, decision: Decision) -> None:
        self._decisions.setdefault((decision.rule, decision.reason), decision)


def _enforced(each: tuple[Rule, RequireCitations]) -> bool:
    return each[0].mode == "enforce"


def _plain(text: str) -> str:
    """Return the text without citations."""
    before = None
    text = visible(text)
    while text != before:
        before, text = text, _CITATION.sub("", text)
    return text
