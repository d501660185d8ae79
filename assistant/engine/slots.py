"""Adapters beside the model: which are resident, in which slot, used by whom.

It owns reading an adapter's files into matrices, putting them into slots and evicting the one unused for
longest. It refuses to evict what a running request uses or the operator pinned, and never merges weights.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from assistant.engine.mix import Use
from assistant.engine.mixed import MixedLinear
from assistant.engine.servable import check
from assistant.errors import AdapterError
from assistant.types import AdapterVersion

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
_KEY = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<matrix>[AB])\.weight")

Products = Mapping[str, tuple[MixedLinear, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An adapter read from disk: for each layer A [r, in] and B [out, r], B already scaled."""

    version: AdapterVersion
    rank: int
    layers: Mapping[str, tuple[Tensor, Tensor]]


def prepare(version: AdapterVersion, base_digest: str, products: Products) -> Prepared:
    """Read and check an adapter version; safe in any thread.

    Raises:
        AdapterError: missing, damaged, of another base, of a kind or shape that cannot be served.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check(version, base_digest)
    try:
        config = json.loads((version.path / _CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(version.path / _WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise AdapterError(
            f"Adapter {version.name} cannot be read: {error}", remedy="Restore or retrain it."
        ) from error
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or match["layer"] not in products:
            raise _misfit(version, f"it trains {key}, which this engine does not serve")
        found.setdefault(match["layer"], {})[match["matrix"]] = tensor
    layers = {name: _scaled(version, config, name, pair, products) for name, pair in found.items()}
    return Prepared(version=version, rank=max((len(a) for a, _ in layers.values()), default=0), layers=layers)


def _scaled(
    version: AdapterVersion, config: Mapping[str, Any], name: str, pair: Mapping[str, Tensor], to: Products
) -> tuple[Tensor, Tensor]:
    """Return A and scaled B. Scale: alpha / r, or alpha / sqrt(r) (rsLoRA, Kalajdzievski 2023)."""
    if pair.keys() != {"A", "B"}:
        raise _misfit(version, f"{name} has only one of its two matrices")
    a, b = pair["A"].float(), pair["B"].float()
    linear, place = to[name]
    inputs, out = linear.sizes(place)
    if a.shape != (len(a), inputs) or b.shape != (out, len(a)):
        raise _misfit(
            version, f"{name} is {tuple(a.shape)} and {tuple(b.shape)}; the layer takes {inputs} to {out}"
        )
    alpha = _by_pattern(config.get("alpha_pattern"), name, config.get("lora_alpha", len(a)))
    return a, b * (alpha / (len(a) ** 0.5 if config.get("use_rslora") else len(a)))


def _by_pattern(patterns: Mapping[str, float] | None, name: str, default: float) -> float:
    """PEFT's rule: the first pattern that matches the end of a layer's name."""
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", name):
            return value
    return default


def _misfit(version: AdapterVersion, why: str) -> AdapterError:
    return AdapterError(
        f"Adapter {version.name} does not fit the base model: {why}.", remedy="Train it on this base."
    )


class AdapterSlots:
    """At most `size` adapters beside a model. Not for several threads: the engine's loop owns it.

    Args:
        copies: of the weights, each with its products by layer name.
    """

    def __init__(self, copies: Sequence[Products], size: int) -> None:
        self._copies = [_grouped(products) for products in copies]
        self._free = list(range(size))[::-1]
        self._resident: OrderedDict[str, Use] = OrderedDict()
        self._users: dict[str, int] = {}
        self._pinned: frozenset[str] = frozenset()
        self.evictions = self.loads = 0

    @property
    def resident(self) -> tuple[str, ...]:
        """Digests inside the model, least recently used first."""
        return tuple(self._resident)

    @property
    def has_free(self) -> bool:
        """Whether an adapter can come without another's going."""
        return bool(self._free)

    def pin(self, digests: Iterable[str]) -> None:
        """Say which adapters are never evicted."""
        self._pinned = frozenset(digests)

    def acquire(self, digest: str) -> Use | None:
        """Use a resident adapter until `release`; None if it is not resident."""
        if (use := self._resident.get(digest)) is not None:
            self._resident.move_to_end(digest)
            self._users[digest] = self._users.get(digest, 0) + 1
        return use

    def release(self, digest: str) -> None:
        """One user less."""
        self._users[digest] -= 1

    def insert(self, adapter: Prepared) -> bool:
        """Make an adapter resident, evicting another if need be; False if all slots are in use."""
        digest = adapter.version.digest
        if digest in self._resident:
            return True
        if not self._free and not self._evict():
            return False
        slot = self._free.pop()
        for copy in self._copies:
            for linear, names in copy:
                parts = [adapter.layers.get(name) for name in names]
                linear.put(slot, max((len(part[0]) for part in parts if part), default=0), parts)
        self._resident[digest] = Use(slot, adapter.rank)
        self.loads += 1
        return True

    def remove(self, digest: str) -> None:
        """Free an adapter's slot. Unknown digests are ignored; nobody may be using it."""
        use = self._resident.pop(digest, None)
        if use is not None:
            assert not self._users.pop(digest, 0), "an adapter in use stays"
            for copy in self._copies:
                for linear, _ in copy:
                    linear.clear(use.slot)
            self._free.append(use.slot)

    def discard(self, digest: str) -> None:
        """Free an adapter's slot unless a running request uses it; it is evicted in its turn then."""
        if not self.in_use(digest):
            self.remove(digest)

    def in_use(self, digest: str) -> bool:
        """Whether a running request uses it."""
        return self._users.get(digest, 0) > 0

    def _evict(self) -> bool:
        for digest in self._resident:
            if digest not in self._pinned and not self.in_use(digest):
                self.remove(digest)
                self.evictions += 1
                return True
        return False


def _grouped(products: Products) -> list[tuple[MixedLinear, list[str]]]:
    """Products with the names of their parts in order."""
    names: dict[int, tuple[MixedLinear, dict[int, str]]] = {}
    for name, (linear, place) in products.items():
        names.setdefault(id(linear), (linear, {}))[1][place] = name
    return [(linear, [parts[place] for place in sorted(parts)]) for linear, parts in names.values()]
