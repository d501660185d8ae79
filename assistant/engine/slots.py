"""Adapters inside a model: which are resident, which one is active.

It owns checking and loading of adapter versions (PEFT) and eviction of the least recently used; it
refuses what another engine could not serve either (vLLM's list), and never merges weights.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

from assistant.errors import AdapterError
from assistant.types import AdapterVersion

_WEIGHTS, _CONFIG, _MANIFEST = "adapter_model.safetensors", "adapter_config.json", "manifest.json"
_PREFIX = "base_model.model."
_REFUSED = (
    "use_dora",
    "lora_bias",
    "alora_invocation_tokens",
    "layer_replication",
    "modules_to_save",
    "use_qalora",
)


class AdapterSlots:
    """At most `size` adapters inside `model`; one more evicts the one unused for longest.

    Not for several threads: the engine's worker owns it.
    """

    def __init__(self, model: Any, size: int) -> None:  # noqa: ANN401 - transformers is untyped
        self._model, self._size = model, size
        self._layers: list[Any] = []
        self._resident: OrderedDict[str, None] = OrderedDict()
        self._active: str | None = None

    @property
    def resident(self) -> tuple[str, ...]:
        """Digests inside the model, least recently used first."""
        return tuple(self._resident)

    def activate(self, version: AdapterVersion | None) -> None:
        """Make an adapter (or none) the one that the next steps run with, loading it if needed.

        Raises:
            AdapterError: its files went missing or do not fit.
        """
        if version is None:
            self._switch(None)
            return
        self.add(version)
        self._resident.move_to_end(version.digest)
        self._switch(version.digest)

    def add(self, version: AdapterVersion) -> None:
        """Load an adapter's weights into the model; twice is a no-op.

        Raises:
            AdapterError: of a shape that does not fit this base.
        """
        if version.digest in self._resident:
            return
        while len(self._resident) >= self._size:
            self.remove(next(iter(self._resident)))
        try:
            self._insert(version)
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            self._discard(version.digest)
            raise AdapterError(
                f"Adapter {version.name} does not fit the base model: {str(error)[:300]}",
                remedy="Train it on this base.",
            ) from error
        self._resident[version.digest] = None

    def remove(self, digest: str) -> None:
        """Drop an adapter's weights; unknown digests are ignored."""
        if digest in self._resident:
            del self._resident[digest]
            self._discard(digest)

    def _switch(self, digest: str | None) -> None:
        if digest == self._active:
            return
        for layer in self._layers:
            layer.enable_adapters(digest is not None)
            if digest is not None:
                layer.set_adapter([digest], inference_mode=True)
        self._active = digest

    def _insert(self, version: AdapterVersion) -> None:
        from peft import LoraConfig
        from peft.functional import inject_adapter_in_model, set_peft_model_state_dict
        from safetensors.torch import load_file

        config = LoraConfig.from_pretrained(str(version.path))
        weights = load_file(version.path / _WEIGHTS)
        state = {name.removeprefix(_PREFIX): weight for name, weight in weights.items()}
        with warnings.catch_warnings():  # of no use here: it warns of a second adapter, and on each load
            warnings.simplefilter("ignore")
            inject_adapter_in_model(config, self._model, adapter_name=version.digest)
            result = set_peft_model_state_dict(self._model, state, adapter_name=version.digest)
        missing = [name for name in result.missing_keys if f".{version.digest}." in name]
        if missing or result.unexpected_keys:
            raise ValueError(f"tensors do not match: {[*missing, *result.unexpected_keys][0]}")
        self._settle()

    def _discard(self, digest: str) -> None:
        from peft.functional import delete_adapter

        if digest not in getattr(self._model, "peft_config", {}):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            delete_adapter(self._model, digest, prefix="lora_")
        del self._model.peft_config[digest]
        self._settle()

    def _settle(self) -> None:
        """Bring new layers to the model's dtype and mode, and every layer to no adapter."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        self._layers = [part for part in self._model.modules() if isinstance(part, BaseTunerLayer)]
        for layer in self._layers:
            weight = layer.get_base_layer().weight
            for matrices in (layer.lora_A, layer.lora_B):
                matrices.to(device=weight.device, dtype=weight.dtype)
        self._model.eval().requires_grad_(False)
        self._active = ""
        self._switch(None)


def check(version: AdapterVersion, base_digest: str) -> None:
    """Check an adapter's files before anything reads their weights.

    Raises:
        AdapterError: missing, damaged, of another base, or of a kind that cannot be served.
    """
    if version.base_digest != base_digest:
        raise AdapterError(
            f"Adapter {version.name} was trained on base {version.base_digest[:16]}; "
            f"this engine serves {base_digest[:16]}.",
            remedy="Train it on this base, or configure its base.",
        )
    config, manifest = _read(version.path / _CONFIG), _read(version.path / _MANIFEST)
    _check_kind(version, config)
    weights = version.path / _WEIGHTS
    if not weights.is_file():
        raise AdapterError(f"{weights} does not exist.", remedy="Restore or retrain this adapter.")
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if manifest.get("digest") != version.digest or manifest.get("weights_digest") != found:
        raise AdapterError(
            f"{version.path} is not adapter {version.name}: its files were altered.",
            remedy="Restore or retrain this adapter.",
        )


def _check_kind(version: AdapterVersion, config: dict[str, object]) -> None:
    if config.get("peft_type") != "LORA":
        raise AdapterError(f"Adapter {version.name} is {config.get('peft_type')}, not LORA.")
    if refused := [key for key in _REFUSED if config.get(key)]:
        raise AdapterError(f"Adapter {version.name} uses {refused[0]}, which cannot be served.")
    if config.get("bias", "none") != "none":
        raise AdapterError(f"Adapter {version.name} trains biases, which cannot be served.")


def _read(file: Path) -> dict[str, object]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{file} does not exist.", remedy="Restore or retrain this adapter.") from None
    except (OSError, ValueError) as error:
        raise AdapterError(f"{file} is damaged ({type(error).__name__}).", remedy="Restore it.") from None
    if not isinstance(content, dict):
        raise AdapterError(f"{file} is damaged: it holds no mapping.", remedy="Restore it.")
    return content
