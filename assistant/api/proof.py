"""What an asker gets to keep: the entries of an answer, and the proof that they are in the log."""

from __future__ import annotations

import time

from assistant.api.schemas import ProofBody, receipt_body
from assistant.app import App
from assistant.audit.entry import Entry
from assistant.errors import AuditError, Unknown
from assistant.types import User

_ANSWERS = ("question.opened", "answer.closed")
_TRIES = 50


def proof(app: App, user: User, id: str) -> ProofBody:
    """Return an answer's entries with an inclusion proof of the last one against the signed head.

    Raises:
        Unknown: no such answer, or not this user's and they may not audit: the two look the same.
        AuditError: head and entries do not come together; the log is damaged, or very busy.
    """
    entries = _visible(app, user, id)
    for _ in range(_TRIES):
        receipt, path = app.log.proof(entries[-1].position)
        checkpoint = app.log.checkpoint()
        if checkpoint.split("\n")[1:2] == [str(receipt.tree_size)]:
            return ProofBody(
                receipt=receipt_body(receipt),
                entries=entries,
                inclusion_proof=tuple(node.hex() for node in path),
                checkpoint=checkpoint,
            )
        time.sleep(0.02)  # an append is between its commit and its head
    raise AuditError("The signed head does not cover the log.", remedy="Run `assistant audit verify`.")


def _visible(app: App, user: User, id: str) -> tuple[Entry, ...]:
    unknown = Unknown(f"No receipt {id}.", remedy="An answer's receipt is shown to its asker only.")
    try:
        entries = app.log.of(id)
    except Unknown:
        raise unknown from None
    if any(entry.kind not in _ANSWERS for entry in entries):
        raise unknown
    if entries[0].user != user.id and app.access.may(user, "audit").action != "allow":
        raise unknown
    return entries
