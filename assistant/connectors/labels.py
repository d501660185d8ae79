"""Which labels a path gets: default, the connector's patterns, the folders' own, the document's own.

Later ones override earlier ones key by key. A folder's `.access.yaml` holds for everything below it
until a nearer one says otherwise. It refuses to guess: without a readable label nothing is ingested.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from assistant.connectors.config import FolderLabels, Labelling, LabelRule, SourceLabels
from assistant.types import Labels


def labels_of(
    uri: str,
    *,
    source: str,
    rules: SourceLabels,
    folders: Mapping[str, FolderLabels],
    own: Labelling | None = None,
) -> Labels:
    """Return the labels of the document at `uri`.

    Args:
        rules: default and patterns of the connector.
        folders: what each folder says, by its path inside the source ("" is the root).
        own: what the document says of itself.
    """
    layers: list[tuple[Labelling, Mapping[str, str]]] = [(rules.default, {})]
    for rule in rules.labels:
        if (named := _match(rule, uri)) is not None:
            layers.append((rule, named))
    layers += [(folders[folder], {}) for folder in _above(uri) if folder in folders]
    layers += [(own, {})] if own else []
    access: Sequence[str] = ()
    department = classification = residency = None
    for layer, named in layers:
        access = [_filled(entry, named) for entry in layer.access] if layer.access else access
        department = _filled(layer.department, named) if layer.department else department
        classification = layer.classification or classification
        residency = layer.residency or residency
    return Labels(
        source=source,
        principals=frozenset(access),
        department=department,
        classification=classification or "internal",
        residency=residency,
    )


def nobodys(source: str) -> Labels:
    """Return the labels of what nobody may read, because its own labels cannot be read."""
    return Labels(source=source, principals=frozenset(), classification="restricted")


def matches(pattern: str, uri: str) -> bool:
    """Whether a path pattern covers a path: `*` within one folder, `**` across folders."""
    return _regex(pattern).fullmatch(uri) is not None


def _match(rule: LabelRule, uri: str) -> Mapping[str, str] | None:
    match = _regex(rule.path).fullmatch(uri)
    return match.groupdict() if match else None


def _filled(text: str, named: Mapping[str, str]) -> str:
    for name, value in named.items():
        text = text.replace(f"{{{name}}}", value)
    return text


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    tokens = re.findall(r"\*\*/?|\*|\?|\{[a-z_]+\}|[^*?{}]+|.", pattern)
    return re.compile("".join(_translated(token) for token in tokens), re.DOTALL)


def _translated(token: str) -> str:
    fixed = {"**": ".*", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    if token in fixed:
        return fixed[token]
    if re.fullmatch(r"\{[a-z_]+\}", token):
        return f"(?P<{token[1:-1]}>[^/]+)"
    return re.escape(token)


def _above(uri: str) -> list[str]:
    """Return the folders above a path, outermost first; the root is ""."""
    parts = uri.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]
