"""Every mistake in assistant.yaml is one error with file, key and remedy; secrets are not shown."""

import pytest

from assistant.config import FILE_NAME, find, load
from assistant.errors import ConfigError


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / FILE_NAME
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


def test_an_empty_file_is_all_defaults(written):
    settings = load(written(""))
    assert settings.company == "Our company" and settings.engine.kind == "local"


def test_paths_are_resolved_against_the_workspace(written, tmp_path):
    settings = load(written("models: {folder: here}\naudit: {folder: /srv/audit}\n"))
    assert settings.workspace == tmp_path.resolve()
    assert settings.path(settings.models.folder) == tmp_path.resolve() / "here"
    assert str(settings.path(settings.audit.folder)) == "/srv/audit"
    assert settings.database_url == f"sqlite:///{tmp_path.resolve()}/var/assistant.db"


@pytest.mark.parametrize(
    "url",
    ["sqlite:////srv/a.db", "postgresql://u@h/db", "postgresql+psycopg://u:p@h:5432/db?sslmode=require"],
)
def test_absolute_databases_stay(written, url):
    assert load(written(f"database: {url}")).database_url == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compny: X", r"unknown key `compny`\. Remove it; known here: adapters, audit, company"),
        ("models: {bas: x}", r"unknown key `models\.bas`.*known here: base, catalogue, embedder, folder"),
        (
            "engine: {kind: local, dtyp: auto}",
            r"unknown key `engine\.dtyp`.*known here: batch_size, cache_mb, device, drain_s, dtype",
        ),
        (
            "engine: {kind: http, url: x, model: y, key: z}",
            r"unknown key `engine\.key`.*known here: adapters, api_key",
        ),
        ("engine: {kind: cloud}", r"key `engine`: .*cloud"),
        ("engine: {kind: http, url: x}", r"key `engine\.model` is missing\. Add it"),
        ("serve: {port: many}", r"key `serve\.port`: .*integer.*Correct its value"),
        ("serve: {port: 70000}", r"key `serve\.port`: .*65535"),
        ("serve: [1]", r"key `serve`: .*dictionary"),
        ("company: {a: b}", r"key `company`: .*string"),
        (
            "models: {catalogue: {a: {kind: embedder, sha256: x, sources: []}}}",
            r"key `models\.catalogue\.a\.sha256`",
        ),
        ("database: mysql://x", r"assistant\.yaml: database must be a sqlite:/// or postgresql:// URL"),
        ("database: postgresqlx://h/db", r"database must be"),
        ("database: 'sqlite:///'", r"database must name a file"),
        ("database: 'sqlite:///:memory:'", r"database must name a file"),
        ("database: 'sqlite://var/x.db'", r"database must name a file"),
        (
            "company: ${NOWHERE_SET}",
            r"key `company` uses \$\{NOWHERE_SET\}, which is not set\. Export NOWHERE_SET",
        ),
        (
            "models: {catalogue: {a: {sources: [{path: '${NOWHERE_SET}'}]}}}",
            r"`models\.catalogue\.a\.sources\.0\.path` uses",
        ),
        ("- a\n- b", r"expected keys and values at the top, found list\. Write it as"),
        ("just text", r"found str"),
        ("a: [1, 2", r"line \d+, column \d+: not valid YAML"),
        ("a: b: c", r"line 1, column 5: not valid YAML"),
        ("company: A\ncompany: B", r"line 2, column 1: not valid YAML: key `company` stands twice"),
        ("a: !!python/object/apply:os.system [x]", r"not valid YAML"),
        (b"company: \xff", r"cannot be read: .*utf-8.*UTF-8 text"),
        ("company: \x00", r"not valid YAML"),
    ],
)
def test_a_mistake_names_file_key_and_remedy(written, monkeypatch, text, message):
    monkeypatch.delenv("NOWHERE_SET", raising=False)
    file = written(text)
    with pytest.raises(ConfigError, match=f"(?s){message}") as caught:
        load(file)
    assert str(file) in str(caught.value) and caught.value.remedy


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"assistant\.yaml does not exist\. Create it"):
        load(tmp_path / FILE_NAME)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(ConfigError, match=r"No assistant\.yaml in .*assistant init DIR"):
        find(tmp_path)


def test_it_is_found_from_a_folder_inside(written, tmp_path):
    file = written("")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find(tmp_path / "a" / "b") == file.resolve()


def test_variables_are_replaced_wherever_they_stand(written, monkeypatch):
    monkeypatch.setenv("COMPANY", "Tidewell: {x}")
    monkeypatch.setenv("KEY", "s3cret")
    settings = load(
        written("company: ${COMPANY} (${COMPANY})\nengine: {kind: http, url: u, model: m, api_key: '${KEY}'}")
    )
    assert settings.company == "Tidewell: {x} (Tidewell: {x})"
    assert settings.engine.api_key.get_secret_value() == "s3cret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ana:pa55@db.example:5432/a", "postgresql://ana:**********@db.example:5432/a"),
        ("postgresql://ana:p@5/5:5@db/a", "postgresql://ana:**********@db/a"),
        ("postgresql://ana@db/a", "postgresql://ana@db/a"),
        ("postgresql://db/a?user=x&password=pa55", "postgresql://db/a?user=x&password=**********"),
        ("sqlite:///var/a.db", "sqlite:///var/a.db"),
    ],
)
def test_the_databases_password_is_not_shown(written, url, shown):
    settings = load(written(f"database: {url!r}"))
    assert settings.shown()["database"] == shown
    assert "pa55" not in str(settings.shown())


def test_secrets_are_not_shown(written):
    settings = load(
        written(
            "engine: {kind: http, url: 'https://me:hush@engine.example/v1', model: m, api_key: s3cret}\n"
            "models: {catalogue: {a: {kind: embedder, sha256: '" + "0" * 64 + "', sources: "
            "[{packages: ['x @ https://t:0ken@index.example/x'], file: f}]}}}\n"
        )
    )
    shown = settings.shown()
    assert shown["engine"]["api_key"] == "**********"
    assert shown["engine"]["url"] == "https://me:**********@engine.example/v1"
    assert not any(secret in str(shown) for secret in ("hush", "s3cret", "0ken"))
    assert "s3cret" not in repr(settings)
    assert shown["workspace"] == str(settings.workspace)
    assert shown["serve"]["port"] == 8000 and shown["models"]["folder"] == "var/models"


def test_an_error_does_not_repeat_a_secret(written, monkeypatch):
    monkeypatch.setenv("KEY", "s3cret")
    with pytest.raises(ConfigError) as caught:
        load(written("engine: {kind: http, url: u, model: m, api_key: ['${KEY}']}"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "passages"), [("{}", 16), ("{sentences: 2}", 3), ("{sentences: 2, passages: 5}", 5)]
)
def test_sentences_are_chosen_from_few_passages(written, given, passages):
    assert load(written(f"prompt: {given}\n")).prompt.passages == passages


def test_a_lead_needs_sentences(written):
    with pytest.raises(ConfigError, match="prompt.*sentences"):
        load(written("prompt: {lead: true}\n"))


@pytest.mark.parametrize(("word", "meant"), [("on", "on"), ("off", "off"), ("'on'", "on"), ("auto", "auto")])
def test_a_bare_on_or_off_is_a_word(written, word, meant):
    assert load(written(f"engine: {{kind: local, prepack: {word}}}")).engine.prepack == meant


def test_pinned_adapters_leave_a_place_free(written):
    text = "engine: {{kind: local, resident_adapters: {}, pinned_adapters: [hr, legal, hr]}}"
    assert load(written(text.format(3))).engine.pinned_adapters == ("hr", "legal", "hr")
    with pytest.raises(ConfigError, match="engine.*leave no place.*resident_adapters"):
        load(written(text.format(2)))


@pytest.mark.parametrize(
    "kind", ["{kind: local, drain_s: 5}", "{kind: http, url: 'http://x', model: m, drain_s: 5}"]
)
def test_every_engine_has_a_time_to_drain(written, kind):
    assert load(written(f"engine: {kind}")).engine.drain_s == 5.0
