"""assistant.yaml -> Settings. Owns the configuration schema and its errors; builds nothing.

Relative paths are resolved against the folder of the file. `yamlfile` says how a file is read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from assistant.errors import ConfigError
from assistant.yamlfile import Section, read_yaml, validated

FILE_NAME = "assistant.yaml"
_MASK = "**********"


class PackageSource(Section):
    """Weights inside one or several packages of the company's package index, joined in order."""

    packages: tuple[str, ...] = Field(min_length=1, description="requirements such as name==1.0")
    file: str = Field(description="file or folder inside the package; {part} is the part's number")


class HubSource(Section):
    """A revision of a repository on a model hub."""

    hub: str
    revision: str
    file: str | None = None


class PathSource(Section):
    """A local file or folder."""

    path: Path


class ModelPin(Section):
    """A model's exact identity: where its weights come from, in order of preference, and their digest."""

    kind: Literal["causal-lm", "embedder", "cross-encoder"]
    format: Literal["gguf", "safetensors"] = "safetensors"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of the weights file")
    licence: str = ""
    sources: tuple[PackageSource | HubSource | PathSource, ...] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=16, description="longest input; None: the model's own")


class Models(Section):
    """Which models are used, and the operator's own pins beside the built-in catalogue."""

    base: str = "smollm2-135m-instruct"
    embedder: str = "all-minilm-l6-v2"
    folder: Path = Path("var/models")
    catalogue: dict[str, ModelPin] = {}
    hub_timeout_s: float = Field(5.0, gt=0)


class EngineSection(Section):
    """What every engine is told."""

    drain_s: float = Field(30.0, ge=0, description="time that running answers get when the server stops")


def _switch(value: object) -> object:
    """YAML reads a bare `on` or `off` as true or false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class LocalEngine(EngineSection):
    """transformers in this process, with many adapters in one batch."""

    kind: Literal["local"] = "local"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    threads: int | None = Field(None, ge=1)
    prepack: Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)] = "auto"
    kernels: Annotated[Literal["auto", "off"], BeforeValidator(_switch)] = "auto"
    batch_size: int = Field(32, ge=1, description="requests that decode together")
    cache_mb: int | None = Field(None, ge=1, description="keys and values; None: a quarter of what is free")
    prefix_cache_mb: int = Field(256, ge=0, description="kept computations of prompts; 0: none")
    resident_adapters: int = Field(8, ge=1)
    pinned_adapters: tuple[str, ...] = Field((), description="departments whose champion stays resident")
    queue_length: int = Field(64, ge=1, description="requests that may wait, for each department")
    max_wait_s: float | None = Field(None, gt=0, description="longest predicted wait; None: no bound")
    longest_pause_s: float = Field(1.0, gt=0, description="how long a prompt may hold up others' next token")

    @model_validator(mode="after")
    def _a_free_place_stays(self) -> LocalEngine:
        if len(set(self.pinned_adapters)) >= self.resident_adapters:
            raise ValueError("`pinned_adapters` leave no place for others: raise `resident_adapters`")
        return self


class HttpEngine(EngineSection):
    """A vLLM server of one's own, or a hosted one that speaks the OpenAI protocol."""

    kind: Literal["http"]
    server: Literal["vllm", "hosted"] = "vllm"
    url: str
    model: str
    api_key: SecretStr | None = None
    timeout_s: float = Field(120.0, gt=0)
    reconnect_s: float = Field(10.0, ge=0)
    context_tokens: int = Field(8192, ge=256)
    load_adapters: bool = True
    max_lora_rank: int = Field(16, ge=1)
    replicas: tuple[str, ...] = ()
    adapters: dict[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], str] = {}

    @model_validator(mode="after")
    def _one_name_each(self) -> HttpEngine:
        if len(set(self.adapters.values())) < len(self.adapters):
            raise ValueError("two digests in `adapters` have the same name: one name, one adapter")
        return self


_FEW = 3  # passages that a small model's sentences are chosen from


class Prompt(Section):
    """The token budget of a grounded prompt."""

    passages: int = Field(16, ge=1, le=50, description="3 where `sentences` is set and this is not")
    sentences: int | None = Field(
        None, ge=1, description="show only so many sentences of them: for small models; None shows all"
    )
    lead: bool = Field(
        False,
        description="begin answers with the sentence that answers best, word for word: for small models",
    )
    passage_tokens: int = Field(1500, ge=64)
    history_tokens: int = Field(300, ge=0)
    answer_tokens: int = Field(120, ge=16)

    @model_validator(mode="before")
    @classmethod
    def _sentences_are_of_few(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("sentences"):
            return {"passages": _FEW, **given}
        return given

    @model_validator(mode="after")
    def _lead_needs_sentences(self) -> Prompt:
        if self.lead and not self.sentences:
            raise ValueError("`lead` begins with the best of the `sentences`: set `sentences` too")
        return self


class Retrieval(Section):
    """Search and the sizes of chunks."""

    candidates: int = Field(50, ge=1, description="fetched from each index before fusion")
    chunk_tokens: int = Field(160, ge=32, description="of the embedder's tokens")
    newer_editions: bool = Field(True, description="a later edition, told by its name, replaces an older one")
    reranker: str | None = Field(None, description="pin of a cross-encoder that orders the best anew")
    reranked: int = Field(20, ge=1, le=200, description="how many of the best it reads")


class Extraction(Section):
    """What takes files apart."""

    readers: dict[str, str] = Field({}, description="extractor plug-in by extension, as {pdf: my-ocr}")


class Routing(Section):
    """When the router says "unsure" or "none of our departments", and how much the asker's own counts."""

    min_confidence: float = Field(0.45, ge=0, le=1)
    unfamiliar_share: float = Field(
        0.0125, ge=0, le=0.5, description="of the departments' own questions, taken for none of theirs"
    )
    own_department: float = Field(2.0, ge=1, le=100, description="how many times likelier; 1: not at all")


class Serve(Section):
    """The HTTP server and its limits."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    max_body_bytes: int = Field(262_144, ge=1024)
    max_messages: int = Field(64, ge=1)
    max_question_tokens: int = Field(1024, ge=16)


class Audit(Section):
    """Where the log's signing key and its signed tree head live: apart from the database."""

    folder: Path = Path("var/audit")


class Settings(Section):
    """The whole of assistant.yaml."""

    company: str = "Our company"
    database: str = "sqlite:///var/assistant.db"
    models: Models = Models()
    engine: Annotated[LocalEngine | HttpEngine, Field(discriminator="kind")] = LocalEngine()
    prompt: Prompt = Prompt()
    extraction: Extraction = Extraction()
    retrieval: Retrieval = Retrieval()
    routing: Routing = Routing()
    serve: Serve = Serve()
    audit: Audit = Audit()
    connectors: Path = Path("connectors")
    adapters: Path = Path("adapters")
    policies: Path = Path("policies")
    people: Path = Path("policies/people.yaml")
    indexes: Path = Path("var/indexes")
    file: Path = Field(Path(FILE_NAME), exclude=True, description="set by load(): the file itself")
    workspace: Path = Field(Path(), exclude=True, description="set by load(): the folder of the file")

    @model_validator(mode="after")
    def _known_scheme(self) -> Settings:
        scheme, _, rest = self.database.partition("://")
        if scheme != "sqlite" and not re.fullmatch(r"postgresql(\+\w+)?", scheme):
            raise ValueError("database must be a sqlite:/// or postgresql:// URL")
        if scheme == "sqlite" and not re.match(r"/[^?]*[^?/:][^?:]*(\?|$)", rest):
            raise ValueError("database must name a file: sqlite:///FILE")
        return self

    def path(self, path: Path) -> Path:
        """Resolve a configured path against the workspace."""
        return path if path.is_absolute() else self.workspace / path

    def shown(self) -> dict[str, Any]:
        """Return the effective values for people to read: secrets and passwords in URLs masked."""
        shown: dict[str, Any] = {"workspace": str(self.workspace)}
        shown.update(_masked(self.model_dump(mode="json")))
        shown["database"] = _masked_database(self.database)
        return shown

    @property
    def database_url(self) -> str:
        """The database URL, a relative SQLite file resolved against the workspace."""
        name = self.database.removeprefix("sqlite:///")
        if name == self.database or Path(name).is_absolute():
            return self.database
        return f"sqlite:///{self.workspace / name}"


def find(start: Path | None = None) -> Path:
    """Return the assistant.yaml of the nearest workspace at or above `start`.

    Raises:
        ConfigError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    raise ConfigError(
        f"No {FILE_NAME} in {here} or above it.",
        remedy="Run `assistant init DIR` to make a workspace, or give --config FILE.",
    )


def load(file: Path | None = None) -> Settings:
    """Read and check a workspace's assistant.yaml.

    Raises:
        ConfigError: missing or wrong file, unknown key, bad value, unset variable.
    """
    file = (file or find()).resolve()
    data = read_yaml(file)
    settings = validated(Settings, data, file)
    return settings.model_copy(update={"file": file, "workspace": file.parent})


def _masked(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    """Mask the password of every URL in a JSON value."""
    if isinstance(value, dict):
        return {key: _masked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    if isinstance(value, str):
        return re.sub(r"(?<=://)([^\s/?#:@]*):[^\s/?#]*@", rf"\1:{_MASK}@", value)
    return value


def _masked_database(url: str) -> str:
    """Mask the password of a database URL, which may hold any character, and secrets among its options."""
    scheme, separator, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    if at and ":" in account:
        account = f"{account.partition(':')[0]}:{_MASK}"
    place = re.sub(r"(?i)([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", rf"\1{_MASK}", place)
    return f"{scheme}{separator}{account}{at}{place}"
