"""Identity of a base model folder: what adapters are tied to and receipts name.

It owns which bytes count as the tokenizer and as the chat template; weights are `digests`' to name.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from assistant.errors import ModelError
from assistant.models.digests import MANIFEST, model_digest, read_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Name and digests (sha256 hex) of a causal language model's folder."""

    name: str
    base_digest: str
    tokenizer_digest: str
    template_digest: str


def identify(folder: Path) -> ModelIdentity:
    """Identify a model folder by its files.

    Raises:
        ModelError: weights or tokenizer are missing, or the manifest is damaged.
    """
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise ModelError(f"{tokenizer} does not exist.", remedy="Run `assistant models pull`.")
    name = read_manifest(folder).name if (folder / MANIFEST).is_file() else folder.name
    return ModelIdentity(
        name=name,
        base_digest=model_digest(folder),
        tokenizer_digest=hashlib.sha256(tokenizer.read_bytes()).hexdigest(),
        template_digest=hashlib.sha256(_template(folder).encode()).hexdigest(),
    )


def _template(folder: Path) -> str:
    """Return the chat template, from its own file or from the tokenizer's configuration; may be empty."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    configuration = folder / "tokenizer_config.json"
    if not configuration.is_file():
        return ""
    template = json.loads(configuration.read_text(encoding="utf-8")).get("chat_template", "")
    return template if isinstance(template, str) else json.dumps(template, sort_keys=True)
