"""The manifest of an adapter version: what it is, made of what, by which recipe.

It owns the digest that names a version and the form of `manifest.json`. A version is immutable: any
change of weights, configuration, base, tokenizer, template, data or recipe is another digest.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.errors import AdapterError

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
MANIFEST_FILE = "manifest.json"
_DIGEST = r"^[0-9a-f]{64}$"


class Manifest(BaseModel):
    """Lineage of one adapter version. Digests are sha256 hex."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    department: str
    digest: str = Field(pattern=_DIGEST)
    base_name: str
    base_digest: str = Field(pattern=_DIGEST)
    tokenizer_digest: str = Field(pattern=_DIGEST)
    template_digest: str = Field(pattern=_DIGEST)
    weights_digest: str = Field(pattern=_DIGEST)
    config_digest: str = Field(pattern=_DIGEST)
    data_digest: str = Field(pattern=_DIGEST)
    examples: int = Field(ge=1)
    documents: tuple[str, ...] = Field((), description="ids of the documents its examples were taken from")
    recipe: dict[str, object]
    losses: tuple[float, ...] = Field(description="mean training loss of each epoch")
    tokens: int = Field(description="tokens of the examples, once")
    seconds: float
    threads: int
    dtype: str
    versions: dict[str, str]
    created_at: str

    @property
    def short(self) -> str:
        """The part of the digest that names folders and engine adapters."""
        return self.digest[:16]

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into a version's folder."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True)
        (folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")


def version_digest(
    *,
    weights_digest: str,
    config_digest: str,
    base_digest: str,
    tokenizer_digest: str,
    template_digest: str,
    data_digest: str,
    recipe: dict[str, object],
) -> str:
    """Return the digest that names a version: sha256 over the canonical JSON of all that it is made of."""
    parts = {
        "weights": weights_digest,
        "config": config_digest,
        "base": base_digest,
        "tokenizer": tokenizer_digest,
        "template": template_digest,
        "data": data_digest,
        "recipe": recipe,
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read a version's manifest and check it against its own digest.

    Raises:
        AdapterError: missing, malformed, or altered.
    """
    file = folder / MANIFEST_FILE
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise AdapterError(f"{file} does not exist.", remedy="Train or restore this adapter.") from None
    except (OSError, ValidationError) as error:
        raise AdapterError(f"{file} is damaged ({type(error).__name__}).", remedy="Restore it.") from None
    expected = version_digest(
        weights_digest=manifest.weights_digest,
        config_digest=manifest.config_digest,
        base_digest=manifest.base_digest,
        tokenizer_digest=manifest.tokenizer_digest,
        template_digest=manifest.template_digest,
        data_digest=manifest.data_digest,
        recipe=manifest.recipe,
    )
    if manifest.digest != expected:
        raise AdapterError(f"{file} was altered: its digest does not follow from it.", remedy="Restore it.")
    return manifest
