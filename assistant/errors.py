"""The one exception tree. A message says what is wrong, where, and what to do next.

    AssistantError
    ├── ConfigError            assistant.yaml, a connector, a rule or an adapter file is wrong
    ├── BadRequest             the question or a parameter cannot be accepted as it is
    │   ├── TooLarge           over a size, message or token limit
    │   └── Unknown            a user, department, document, receipt or key that is not there
    ├── Unauthenticated        no valid API key
    ├── Forbidden              a known caller may not do this
    ├── ModelError             weights missing, of another digest, or unreachable
    │   └── AdapterError       an adapter missing, damaged, or of another base
    ├── IngestError            a source or a document cannot be read
    │   └── SourceBusy         another ingest of the same source is running
    ├── StoreError             the database cannot be opened, migrated or written
    ├── IndexDamaged           a derived index is damaged (it is rebuilt, never trusted)
    ├── EngineError            generation failed
    │   ├── Overloaded         queues are full; carries retry_after_s
    │   ├── DeadlineExceeded   not done within the time the caller gave
    │   └── Unsupported        this engine cannot do that, and says so
    └── AuditError             the log cannot be written, or does not verify

A denial by a policy is a `Decision`, not an exception.
"""

from __future__ import annotations


class AssistantError(Exception):
    """Root of every error this project raises on purpose.

    Args:
        message: what is wrong and where.
        remedy: what the reader can do next; appended to the message.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} {remedy}".strip())


class ConfigError(AssistantError):
    """A file the operator edits is wrong."""


class BadRequest(AssistantError):
    """The caller's input cannot be accepted as it is."""


class TooLarge(BadRequest):
    """The input is over a size, message or token limit."""


class Unknown(BadRequest):
    """The thing named is not there, or not visible to this caller."""


class Unauthenticated(AssistantError):
    """No valid API key was given."""


class Forbidden(AssistantError):
    """The caller is known and may not do this."""


class ModelError(AssistantError):
    """Model weights are missing, unreachable, or not what their pin says."""


class AdapterError(ModelError):
    """An adapter is missing, damaged, or was trained on another base."""


class IngestError(AssistantError):
    """A source or a document cannot be read."""


class SourceBusy(IngestError):
    """Another ingest of the same source is running."""


class StoreError(AssistantError):
    """The database cannot be opened, migrated or written."""


class IndexDamaged(AssistantError):
    """A derived index is not what it should be; it is rebuilt from the database."""


class EngineError(AssistantError):
    """Generation failed."""


class Overloaded(EngineError):
    """Queues are full.

    Args:
        retry_after_s: seconds after which a retry makes sense.
    """

    def __init__(self, message: str, *, retry_after_s: float, remedy: str = "") -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message, remedy=remedy)


class DeadlineExceeded(EngineError):
    """The answer was not complete within the time its caller gave it."""


class Unsupported(EngineError):
    """What was asked is beyond this engine, and it says so."""


class AuditError(AssistantError):
    """The audit log cannot be written, or does not verify."""
