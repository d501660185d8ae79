"""The rows of a generation on a GPU: one product with all of them, then the readable ones ranked.

It is used where FAISS's build for GPUs is installed (the extra `gpu`) and finds one; torch does the work,
because FAISS's own GPU indexes take no selector, and what may not be read must not be ranked. It refuses
to be the only copy: rows that come later are ranked beside it on the processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import faiss
import numpy as np

from assistant.retrieval.rows import Numbers, Rows, Single, top

if TYPE_CHECKING:
    import torch

_BLOCK_ROWS = 65_536
_SPARE = 100  # half-precision scores are ranked this much deeper, then again in single precision


def found() -> str | None:
    """Return the device to use, if there is one."""
    count = getattr(faiss, "get_num_gpus", lambda: 0)()
    return "cuda" if count else None


class OnDevice:
    """A copy of a table of rows in a device's memory, in half precision."""

    def __init__(self, rows: Rows, device: str) -> None:
        import torch

        self._rows, self._device = rows, device
        spans = range(0, len(rows), _BLOCK_ROWS)
        blocks = [rows.take(np.arange(first, min(first + _BLOCK_ROWS, len(rows)))) for first in spans]
        self._vectors: torch.Tensor = torch.cat([torch.from_numpy(block).to(device) for block in blocks])

    def best(self, question: Single, rows: Numbers, limit: int) -> tuple[Numbers, Single]:
        """Return the `limit` best of these rows with their inner products, best first."""
        import torch

        with torch.inference_mode():
            asked = torch.from_numpy(question).to(self._device, torch.float16)
            readable = torch.from_numpy(rows).to(self._device)
            scores = (self._vectors @ asked)[readable]
            near = torch.topk(scores, min(limit + _SPARE, len(rows))).indices
            candidates = readable[near].cpu().numpy()
        return top(candidates, self._rows.scores(question, candidates), limit)
