"""One generation: prefill, then token by token, until the model, a stop string or the budget ends it.

It owns what each delta holds; it refuses to know about queues and threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assistant.engine.base import Delta, Finish, Sampling
from assistant.engine.chat import ChatTokenizer
from assistant.engine.model import Model
from assistant.engine.sampler import Sampler
from assistant.engine.text import Detokenizer, Released, StopStrings


def complete(
    model: Model, tokenizer: ChatTokenizer, prompt: Sequence[int], sampling: Sampling
) -> Iterator[Delta]:
    """Generate after `prompt` with the model's active adapter.

    An empty delta follows each piece of the prompt and each token whose text is held back, so that the
    caller can stop between any two steps.
    """
    for _ in model.prefill(row := model.empty_row(), prompt):
        yield Delta(text="")
    draw = Sampler(sampling, prompt, model.device)
    text, stops = Detokenizer(tokenizer.decode), StopStrings(sampling.stop)
    pending: list[int] = []
    count = 0
    finish: Finish | None = None
    released = Released(text="")
    while finish is None:
        if count == sampling.max_tokens:
            finish = "length"
        elif (token := draw(row.last)) in tokenizer.ends:
            finish = "stop"
        else:
            count += 1
            pending.append(token)
            released = stops.add(text.add(token))
            finish = "stop" if released.stopped else None
        if finish is None:
            yield Delta(text=released.text, tokens=tuple(pending) if released.text else ())
            if released.text:
                pending.clear()
            if count < sampling.max_tokens:
                model.step(row, token)
    yield Delta(
        text=released.text if released.stopped else _rest(text, stops),
        tokens=tuple(pending),
        finish=finish,
        prompt_tokens=len(prompt),
        completion_tokens=count,
    )


def _rest(text: Detokenizer, stops: StopStrings) -> str:
    """Return what was held back when the stream ended; a stop string may still stand in it."""
    last = stops.add(text.flush())
    return last.text if last.stopped else last.text + stops.flush()
