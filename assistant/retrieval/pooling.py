"""What the sentence-transformers files beside a model's weights say: how rows are pooled, how long texts are.

It refuses modules and poolings that it does not know: wrong vectors look like right ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from assistant.errors import ModelError

Pooling = Literal["mean", "cls"]
_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})


def pooling(folder: Path) -> Pooling:
    """Read the pooling from `modules.json` and `1_Pooling/config.json`; without them it is the mean.

    Raises:
        ModelError: a module or a pooling that is not known here.
    """
    modules = folder / "modules.json"
    if not modules.is_file():
        return "mean"
    listed = json.loads(modules.read_text(encoding="utf-8"))
    kinds = {module["type"].rsplit(".", 1)[-1]: module["path"] for module in listed}
    if unknown := set(kinds) - _MODULES:
        raise ModelError(f"it needs {', '.join(sorted(unknown))}, which is not supported here.")
    if "Pooling" not in kinds:
        return "mean"
    config = json.loads((folder / kinds["Pooling"] / "config.json").read_text(encoding="utf-8"))
    prefix = "pooling_mode_"
    chosen = {key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix) and value}
    chosen = chosen or {f"{config.get('pooling_mode', 'mean')}"}
    if chosen <= {"mean_tokens", "mean"}:
        return "mean"
    if chosen <= {"cls_token", "cls"}:
        return "cls"
    raise ModelError(f"its pooling is {', '.join(sorted(chosen))}; mean and cls are supported here.")


def longest(folder: Path) -> int:
    """Longest input in tokens, with special ones, that the model was trained for."""
    file = folder / "sentence_bert_config.json"
    if file.is_file():
        said = json.loads(file.read_text(encoding="utf-8")).get("max_seq_length")
        if said:
            return int(said)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config["max_position_embeddings"])
