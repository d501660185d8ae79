"""Who may do what, decided by Cedar: read a class of documents, ask a department, manage, audit.

This is the one access check; `permissions` remembers what it decided. It fails closed: with a policy that
is not valid against the schema nothing is decided, and any evaluation error is a deny (Cedar itself skips a
`forbid` that errors). It ranks nothing and reads no document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import cedarpy

from assistant.errors import ConfigError
from assistant.types import AccessClass, Decision, Labels, User

ResourceAction = Literal["manage", "audit"]
_SCHEMA = Path(__file__).with_name("access.cedarschema").read_text(encoding="utf-8")
_WORKSPACE: dict[str, object] = {"uid": {"type": "Workspace", "id": "workspace"}, "attrs": {}, "parents": []}


class Access:
    """Policies parsed and validated once, named by `digest`, the sha256 of their text."""

    def __init__(self, policies: str, *, file: str = "access.cedar") -> None:
        """Parse and validate.

        Raises:
            ConfigError: a syntax error, or a policy that does not fit the schema.
        """
        try:
            self._policies = cedarpy.PolicySet.from_str(policies)
        except ValueError as error:
            raise ConfigError(
                f"{file}: {error}.", remedy="Correct the policy; nobody may read anything."
            ) from None
        result = cedarpy.validate_policies(policies, _SCHEMA)
        if not result.validation_passed:
            raise ConfigError(
                f"{file}: {result.errors[0]}.",
                remedy="Use the attributes of docs/policies.md, guarded by `has`.",
            )
        self._schema = cedarpy.Schema.from_str(_SCHEMA)
        self.digest = hashlib.sha256(policies.encode()).hexdigest()

    @classmethod
    def parse(cls, text: str, file: Path) -> Access:
        """Make the policies of the text of a Cedar file.

        Raises:
            ConfigError: wrong.
        """
        return cls(text, file=str(file))

    @classmethod
    def load(cls, file: Path) -> Access:
        """Read a Cedar file.

        Raises:
            ConfigError: missing or wrong.
        """
        try:
            return cls.parse(file.read_text(encoding="utf-8"), file)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{file} cannot be read: {error}.", remedy="Without it nobody may read anything."
            ) from error

    def permitted(self, user: User, classes: Iterable[AccessClass]) -> frozenset[int]:
        """Return the ids of those classes that this user may read."""
        known = tuple(classes)
        if not known:
            return frozenset()
        decisions = self._decide(user, "read", [_class_entity(c.labels) for c in known])
        return frozenset(
            c.id for c, decision in zip(known, decisions, strict=True) if decision.action == "allow"
        )

    def may_read(self, user: User, labels: Labels) -> Decision:
        """Decide on one class of documents, with the policy that decided as the reason."""
        return self._decide(user, "read", [_class_entity(labels)])[0]

    def may_ask(self, user: User, department: str) -> Decision:
        """Decide whether this user may use a department's assistant."""
        entity: dict[str, object] = {
            "uid": {"type": "Department", "id": department},
            "attrs": {"name": department},
            "parents": [],
        }
        return self._decide(user, "ask", [entity])[0]

    def may(self, user: User, action: ResourceAction) -> Decision:
        """Decide whether this user may manage the workspace or review its log."""
        return self._decide(user, action, [_WORKSPACE])[0]

    def _decide(self, user: User, action: str, resources: list[dict[str, object]]) -> list[Decision]:
        principal = {"type": "User", "id": user.id}
        try:
            entities = cedarpy.Entities.from_json_str(
                json.dumps([_user_entity(user), *_unique(resources)]), self._schema
            )
        except ValueError as error:
            reason = f"the labels cannot be decided on: {error}"
            return [Decision(action="deny", rule="access", reason=reason)] * len(resources)
        requests = [
            {"principal": principal, "action": {"type": "Action", "id": action}, "resource": entity["uid"]}
            for entity in resources
        ]
        results = cedarpy.is_authorized_batch(requests, self._policies, entities, self._schema)
        return [_decision(result) for result in results]


def _decision(result: cedarpy.AuthzResult) -> Decision:
    errors = result.diagnostics.errors
    names = result.diagnostics.id_annotations_by_reason
    rules = ", ".join(sorted(names.get(reason, reason) for reason in result.diagnostics.reasons))
    if errors:
        return Decision(action="deny", rule="access", reason=f"a policy could not be evaluated: {errors[0]}")
    if result.allowed:
        return Decision(action="allow", rule=rules or "access", reason=f"permitted by {rules}")
    return Decision(
        action="deny",
        rule=rules or "access",
        reason=f"forbidden by {rules}" if rules else "no policy permits it",
    )


def _user_entity(user: User) -> dict[str, object]:
    attributes: dict[str, object] = {
        "id": user.id,
        "groups": sorted(user.groups),
        "principals": sorted(user.principals),
    }
    if user.department:
        attributes["department"] = user.department
    return {
        "uid": {"type": "User", "id": user.id},
        "attrs": attributes,
        "parents": [],
        "tags": dict(user.attributes),
    }


def _class_entity(labels: Labels) -> dict[str, object]:
    attributes: dict[str, object] = {
        "source": labels.source,
        "classification": labels.classification,
        "principals": sorted(labels.principals),
    }
    if labels.department:
        attributes["department"] = labels.department
    if labels.residency:
        attributes["residency"] = labels.residency
    return {"uid": {"type": "DocumentClass", "id": labels.digest}, "attrs": attributes, "parents": []}


def _unique(entities: list[dict[str, object]]) -> list[dict[str, object]]:
    return list({json.dumps(entity["uid"]): entity for entity in entities}.values())
