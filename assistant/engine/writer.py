"""Tokens of one answer -> deltas, until the model, a stop string or the budget ends it.

It owns what each delta holds; it refuses to know where tokens come from.
"""

from __future__ import annotations

from assistant.engine.base import Delta, Finish, Sampling, TokenLogprob
from assistant.engine.chat import ChatTokenizer
from assistant.engine.sampler import Drawn
from assistant.engine.text import Detokenizer, Released, StopStrings


class Writer:
    """One answer as it grows.

    Args:
        prompt_tokens: told in the last delta.
    """

    def __init__(self, tokenizer: ChatTokenizer, sampling: Sampling, prompt_tokens: int) -> None:
        self._ends, self._most = tokenizer.ends, sampling.max_tokens
        self._text, self._stops = Detokenizer(tokenizer.decode), StopStrings(sampling.stop)
        self._tokens: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._prompt_tokens = prompt_tokens
        self.count = 0
        self.finish: Finish | None = None

    def add(self, drawn: Drawn) -> Delta | None:
        """Take a token; return a delta if there is text to release or the answer ended."""
        if drawn.token in self._ends:
            return self._last("stop", self._rest())
        self.count += 1
        self._tokens.append(drawn.token)
        if drawn.logprob is not None:
            self._logprobs.append(drawn.logprob)
        released = self._stops.add(self._text.add(drawn.token))
        if released.stopped:
            return self._last("stop", released.text)
        if self.count == self._most:
            return self._last("length", released.text + self._rest())
        if not released.text:
            return None
        return self._delta(released.text)

    def _last(self, finish: Finish, text: str) -> Delta:
        self.finish = finish
        return self._delta(text)

    def _delta(self, text: str) -> Delta:
        tokens, logprobs = tuple(self._tokens), tuple(self._logprobs)
        self._tokens.clear()
        self._logprobs.clear()
        return Delta(
            text=text,
            tokens=tokens,
            logprobs=logprobs,
            finish=self.finish,
            prompt_tokens=self._prompt_tokens if self.finish else 0,
            completion_tokens=self.count if self.finish else 0,
        )

    def _rest(self) -> str:
        """Return what was held back when the stream ended; a stop string may still stand in it."""
        last: Released = self._stops.add(self._text.flush())
        return last.text if last.stopped else last.text + self._stops.flush()
