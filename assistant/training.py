"""Training a department's adapter on its examples, each laid out exactly as a prompt is when it is served.

It owns how an example becomes messages; `adapters` curates the examples and trains.
"""

from __future__ import annotations

from assistant.adapters import curate
from assistant.adapters.curate import Example
from assistant.adapters.manifest import Manifest
from assistant.adapters.recipe import Recipe
from assistant.adapters.registry import Registry
from assistant.adapters.train import Progress, silent
from assistant.adapters.train import train as fit
from assistant.config import Settings
from assistant.models.pull import located
from assistant.prompt import Source, layout
from assistant.types import Message


def train(
    department: str,
    *,
    settings: Settings,
    adapters: Registry,
    recipe: Recipe | None = None,
    progress: Progress = silent,
) -> Manifest:
    """Train a new version of a department's adapter; nothing serves it until it is promoted.

    Raises:
        AdapterError, ConfigError: the department or its examples are wrong.
        ModelError: the base was not pulled.
    """
    folder = settings.path(settings.adapters) / department
    style = adapters.config(department).style
    dataset = curate.read(folder / "train.jsonl")
    return fit(
        department,
        dataset.examples,
        data_digest=dataset.digest,
        base_folder=located(settings.models.base, settings),
        render=lambda example: rendered(example, style),
        out=folder / "versions",
        recipe=recipe,
        progress=progress,
    )


def rendered(example: Example, style: str) -> tuple[Message, ...]:
    """Lay out a training example exactly as a served prompt."""
    sources = [Source(title=passage.title, text=passage.text) for passage in example.passages]
    return layout(style=style, question=example.question, sources=sources)
