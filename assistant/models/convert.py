"""GGUF -> safetensors, once: a model folder that transformers loads without further work.

It owns the conversion and the corrections it needs; it refuses weights that are not GGUF.
"""

from __future__ import annotations

import json
import mmap
import struct
import warnings
from pathlib import Path

from assistant.errors import ModelError
from assistant.models.progress import Progress

_SPLITS_DIGITS = frozenset({"smollm"})
"""`tokenizer.ggml.pre` values whose tokenizer splits digits first; transformers' conversion forgets it."""


def convert(gguf: Path, into: Path, progress: Progress) -> None:
    """Write config, tokenizer and bfloat16 weights of a GGUF file into `into`; the file is removed.

    Raises:
        ModelError: the file is not GGUF, or of an architecture that transformers does not know.
    """
    with gguf.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ModelError(f"{gguf.name} is not a GGUF file.")
    label = "convert to safetensors (once, about half a minute)"
    size = gguf.stat().st_size
    progress(label, 0, size)
    _convert(gguf, into)
    _split_digits(gguf, into / "tokenizer.json")
    gguf.unlink()
    progress(label, size, size)


def _convert(gguf: Path, into: Path) -> None:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    quiet = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries' own, of no use to an operator
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.bfloat16,
            )
            model.save_pretrained(into)
            tokenizer.save_pretrained(into)
    except (ValueError, KeyError, IndexError, RuntimeError, OSError, struct.error) as error:
        raise ModelError(f"{gguf.name} cannot be converted: {error}") from error
    finally:
        if quiet:
            transformers.utils.logging.enable_progress_bar()


def _split_digits(gguf: Path, tokenizer: Path) -> None:
    """Put back the pre-tokenizer that reads numbers digit by digit, where the model was trained so."""
    if _pre_tokenizer(gguf) not in _SPLITS_DIGITS:
        return
    content = json.loads(tokenizer.read_text(encoding="utf-8"))
    digits = {"type": "Digits", "individual_digits": True}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, content["pre_tokenizer"]]}
    tokenizer.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _pre_tokenizer(gguf: Path) -> str:
    """Read `tokenizer.ggml.pre`: its key, then type 8 (string), length and bytes, as the GGUF format says.

    The gguf library's reader takes seconds, as it parses every token of the vocabulary.
    """
    key = b"tokenizer.ggml.pre" + (8).to_bytes(4, "little")
    with gguf.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = data.find(key)
        if found < 0:
            return ""
        start = found + len(key)
        length = int.from_bytes(data[start : start + 8], "little")
        return data[start + 8 : start + 8 + length].decode("utf-8", "replace")
