"""The usual pipeline of another framework, run by the Python of an environment of its own.

`python baseline.py langchain|llamaindex FOLDER MODEL --chunk-tokens N --total-tokens T`: load, split, embed,
FAISS. The overlap of neighbouring chunks is the smallest with which the chunks have at least T tokens in
all. It imports nothing of ours, and leaves every default that it does not have to set.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

OVERLAPS = (0, 8, 16, 24, 32, 48, 64)
Count = Callable[[str], int]


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("framework", choices=["langchain", "llamaindex"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--chunk-tokens", type=int, required=True)
    parser.add_argument("--total-tokens", type=int, required=True)
    args = parser.parse_args()
    count = counter(args.model)
    side = LangChain(args.model, count) if args.framework == "langchain" else LlamaIndex(args.model, count)
    files = sorted(file for file in args.folder.rglob("*") if file.is_file())
    documents = side.load(files)
    for overlap in OVERLAPS:
        if sum(map(count, side.split(documents, args.chunk_tokens, overlap)[1])) >= args.total_tokens:
            break
    side.embed(["warm"])
    at, used = [time.perf_counter()], sum(os.times()[:4])
    documents = side.load(files)
    at.append(time.perf_counter())
    chunks, texts = side.split(documents, args.chunk_tokens, overlap)
    at.append(time.perf_counter())
    side.index(chunks)
    at.append(time.perf_counter())
    used = sum(os.times()[:4]) - used
    tokens = [count(text) + 2 for text in texts]
    said = {"seconds": at[3] - at[0], "chunks": len(texts), "tokens": sum(tokens), "longest": max(tokens)}
    stages = {f"{stage}_seconds": at[n + 1] - at[n] for n, stage in enumerate(("load", "split", "index"))}
    print(json.dumps({**said, **stages, "cpu_s": used, "overlap": overlap}))


class LangChain:
    """TextLoader and PyPDFLoader, recursive splitter, HuggingFaceEmbeddings, FAISS."""

    def __init__(self, model: str, count: Count) -> None:
        from langchain_huggingface import HuggingFaceEmbeddings

        self._model, self._count = HuggingFaceEmbeddings(model_name=model), count

    def load(self, files: Sequence[Path]) -> list[Any]:
        """Return documents, one a page of a PDF."""
        from langchain_community.document_loaders import PyPDFLoader, TextLoader

        found: list[Any] = []
        for file in files:
            pdf = file.suffix == ".pdf"
            loader = PyPDFLoader(str(file)) if pdf else TextLoader(str(file), autodetect_encoding=True)
            found += loader.load()
        return found

    def split(self, documents: list[Any], size: int, overlap: int) -> tuple[list[Any], list[str]]:
        """Return chunks and their texts."""
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        splitter = RecursiveCharacterTextSplitter(
            chunk_size=size, chunk_overlap=overlap, length_function=self._count
        )
        chunks = splitter.split_documents(documents)
        return chunks, [chunk.page_content for chunk in chunks]

    def embed(self, texts: list[str]) -> None:
        """Embed something."""
        self._model.embed_documents(texts)

    def index(self, chunks: list[Any]) -> Any:  # noqa: ANN401 - its own store
        """Embed the chunks into a FAISS index."""
        from langchain_community.vectorstores import FAISS

        return FAISS.from_documents(chunks, self._model)


class LlamaIndex:
    """SimpleDirectoryReader, SentenceSplitter, HuggingFaceEmbedding, FAISS; metadata is not embedded."""

    def __init__(self, model: str, count: Count) -> None:
        from llama_index.embeddings.huggingface import HuggingFaceEmbedding

        self._model, self._count = HuggingFaceEmbedding(model_name=model), count

    def load(self, files: Sequence[Path]) -> list[Any]:
        """Return documents, one a page of a PDF."""
        from llama_index.core import SimpleDirectoryReader

        documents = SimpleDirectoryReader(input_files=files).load_data()
        for document in documents:
            document.excluded_embed_metadata_keys = list(document.metadata)
            document.excluded_llm_metadata_keys = list(document.metadata)
        return list(documents)

    def split(self, documents: list[Any], size: int, overlap: int) -> tuple[list[Any], list[str]]:
        """Return chunks and their texts."""
        from llama_index.core.node_parser import SentenceSplitter

        splitter = SentenceSplitter(
            chunk_size=size, chunk_overlap=overlap, tokenizer=lambda text: range(self._count(text))
        )
        nodes = splitter.get_nodes_from_documents(documents)
        return nodes, [node.get_content(metadata_mode="embed") for node in nodes]

    def embed(self, texts: list[str]) -> None:
        """Embed something."""
        self._model.get_text_embedding_batch(texts)

    def index(self, chunks: list[Any]) -> None:
        """Embed the chunks into a FAISS index."""
        import faiss
        from llama_index.core import StorageContext, VectorStoreIndex
        from llama_index.vector_stores.faiss import FaissVectorStore

        store = FaissVectorStore(faiss_index=faiss.IndexFlatL2(384))
        context = StorageContext.from_defaults(vector_store=store)
        VectorStoreIndex(chunks, storage_context=context, embed_model=self._model)


def counter(model: str) -> Count:
    """Return what counts the tokens of a text as the model of a folder does."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


if __name__ == "__main__":
    main()
