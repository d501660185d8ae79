"""A cross-encoder that reads the best candidates together with the question and orders them anew.

It owns loading the model and what it is shown. It is optional, sees only passages that the asker may read,
and refuses models that do not give one score, or a yes and a no, for a pair of texts.
"""

from __future__ import annotations

import hashlib
import inspect
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from assistant.errors import ModelError
from assistant.models.digests import file_digest, model_digest
from assistant.retrieval.rank import Ranked

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BATCH = 16
_LONGEST = 512


class Reranker:
    """A sequence classification model over (question, passage). Safe to call from several threads."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, longest: int, digest: str
    ) -> None:
        self._model, self._tokenizer, self._longest = model, tokenizer, longest
        self._takes = set(inspect.signature(model.forward).parameters)
        self._lock = threading.Lock()
        self.digest = digest

    @classmethod
    def load(cls, folder: Path, *, max_tokens: int | None = None) -> Reranker:
        """Load a model folder, as sentence-transformers' CrossEncoder keeps them.

        Args:
            max_tokens: longest pair, with special tokens; default: what the model was trained for.

        Raises:
            ModelError: files are missing or damaged, or it scores no pairs of texts.
        """
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True
            )
            identity = f"{model_digest(folder)}:{file_digest(folder / 'tokenizer.json')}"
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the files
            raise ModelError(
                f"{folder} holds no usable cross-encoder: {error}", remedy="Run `assistant models verify`."
            ) from error
        if model.config.num_labels not in (1, 2):
            raise ModelError(
                f"{folder} gives {model.config.num_labels} scores for a pair of texts.",
                remedy="Name a cross-encoder that gives one in `retrieval.reranker`.",
            )
        model.train(False)
        longest = min(max_tokens or _LONGEST, getattr(model.config, "max_position_embeddings", _LONGEST))
        longest = min(longest, tokenizer.model_max_length)
        digest = hashlib.sha256(f"{identity}:{longest}".encode()).hexdigest()
        return cls(model, tokenizer, longest=longest, digest=digest)

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return how well each text answers the question, shape (texts,), in [0, 1]."""
        import torch

        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        scores = np.zeros(len(texts))
        with self._lock, torch.inference_mode():  # the tokenizer keeps its truncation as a state
            for start in range(0, len(order), _BATCH):
                rows = order[start : start + _BATCH]
                scores[rows] = self._chances(question, [texts[row] for row in rows])
        return scores

    def reordered(self, question: str, ranked: Sequence[Ranked], count: int) -> list[Ranked]:
        """Order the first `count` anew by this model; they stay before the others.

        Their score becomes 1 and what the model gives, which is more than any other score.
        """
        best = list(ranked[:count])
        if not best:
            return []
        found = self.scores(question, [_shown(each) for each in best])
        read = [
            replace(each, passage=replace(each.passage, score=1 + float(score)), reread=float(score))
            for each, score in zip(best, found, strict=True)
        ]
        read.sort(key=lambda each: -each.passage.score)  # equals keep their order
        return [*read, *ranked[count:]]

    def _chances(self, question: str, texts: Sequence[str]) -> NDArray[np.float64]:
        import torch

        encoded = self._tokenizer(
            [question] * len(texts),
            list(texts),
            padding=True,
            truncation="longest_first",
            max_length=self._longest,
            return_token_type_ids=True,
            return_tensors="pt",
        )
        logits = self._model(**{name: value for name, value in encoded.items() if name in self._takes}).logits
        if logits.shape[1] == 1:
            chances: NDArray[np.float64] = torch.sigmoid(logits[:, 0]).double().numpy()
        else:
            chances = torch.softmax(logits, dim=1)[:, 1].double().numpy()
        return chances


def _shown(ranked: Ranked) -> str:
    return f"{ranked.passage.heading}\n{ranked.passage.chunk.text}"
