import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from assistant.errors import ModelError
from assistant.retrieval.embed import Embedder

TEXTS = ["Annual leave is 25 days a year.", "How many days of holiday do I get?", "The pump leaks oil."]


@pytest.fixture(scope="module")
def minilm(models_folder):
    return models_folder / "all-minilm-l6-v2"


@pytest.fixture(scope="module")
def embedder(minilm):
    return Embedder.load(minilm, threads=1)


def test_vectors_are_unit_rows_and_near_for_near_meanings(embedder):
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (3, embedder.dimensions) == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_no_texts_are_no_rows(embedder):
    assert embedder.embed([]).shape == (0, 384)
    assert np.isfinite(embedder.embed([""])).all()


def test_batching_does_not_change_a_vector(embedder):
    texts = [word * count for word in ("leave ", "pump ") for count in (1, 3, 40, 120, 400)]
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    assert (together * alone).sum(axis=1).min() > (0.9999 if embedder.dtype == "float32" else 0.99)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_asked_before_every_batch_can_end_it(minilm, embedder, workers):
    other = Embedder.load(minilm, dtype=embedder.dtype)
    other.speed = replace(embedder.speed, workers=workers, batch_tokens=16)
    asked, computed, forward = [], [], other._forward
    other._forward = lambda tokens: computed.append(True) or forward(tokens)

    def proceed():
        asked.append(True)
        if len(asked) > 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        other.embed(["annual leave"] * 400, proceed)
    assert len(computed) <= 3
    assert other.embed(TEXTS).shape == (3, 384)


def test_workers_side_by_side_give_the_same_rows(minilm, embedder):
    texts = [f"{word} {number}" for word in ("leave", "pump") for number in range(6)]
    workers = Embedder.load(minilm, dtype=embedder.dtype)
    workers.speed = replace(embedder.speed, workers=2, batch_tokens=16)
    assert (workers.embed(texts) * embedder.embed(texts)).sum(axis=1).min() > 0.99


def test_what_is_too_long_is_cut_at_the_limit(embedder):
    long = "leave " * 5_000
    assert embedder.max_tokens == 254
    assert embedder.count_tokens("leave " * 254) == 254
    assert embedder.embed([long])[0] @ embedder.embed(["leave " * 254])[0] > 0.99
    assert embedder.embed(["x" * 1_000_000]).shape == (1, 384)


def test_the_picked_dtype_stays_close_to_float32(minilm, embedder):
    reference = Embedder.load(minilm, threads=1, dtype="float32").embed(TEXTS)
    other = Embedder.load(minilm, threads=1, dtype="bfloat16").embed(TEXTS)
    assert (reference * other).sum(axis=1).min() > 0.98
    assert (reference * embedder.embed(TEXTS)).sum(axis=1).min() > 0.98


def test_its_vectors_are_those_of_sentence_transformers(embedder):
    """Values by sentence-transformers 6.2 for the first text, first eight dimensions."""
    expected = [0.08824, 0.03403, 0.06657, 0.03265, 0.03357, 0.01611, -0.04261, -0.0592]
    tolerance = 1e-4 if embedder.dtype == "float32" else 1e-2
    assert np.allclose(embedder.embed(TEXTS[:1])[0, :8], expected, atol=tolerance)


def test_the_digest_names_weights_pooling_and_length(minilm, embedder):
    assert len(embedder.digest) == 64
    assert Embedder.load(minilm, threads=1, max_tokens=128).digest != embedder.digest


def test_torch_is_loaded_only_to_embed(minilm):
    code = f"""
import sys
from pathlib import Path
from assistant.retrieval.embed import Embedder
embedder = Embedder.load(Path({str(minilm)!r}), threads=1)
assert embedder.embed([]).shape == (0, 384) and len(embedder.digest) == 64
assert embedder.count_tokens("annual leave") == 2
assert not {{"torch", "transformers"}} & set(sys.modules)
embedder.embed(["leave"])
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def copy(minilm, tmp_path):
    return shutil.copytree(minilm, tmp_path / "model")


def test_a_folder_without_weights_says_what_to_do(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="assistant models verify"):
        Embedder.load(copy)


@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_a_model_error(copy, file):
    (copy / file).write_bytes(b"{")
    with pytest.raises(ModelError, match="no usable embedding model"):
        Embedder.load(copy)


def test_pooling_that_is_not_known_is_refused(copy):
    config = {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}
    (copy / "1_Pooling" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="max_tokens"):
        Embedder.load(copy)


def test_a_further_module_is_refused(copy):
    modules = json.loads((copy / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="Dense"):
        Embedder.load(copy)
