"""A vLLM server of the CPU build, in its own environment and process, asked over HTTP on loopback.

It owns that server's life. Between its turns the server is stopped (SIGSTOP), so that it takes nothing
from the sides that are measured then. Its own prefix reuse is off: rounds repeat the same prompts.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx

from assistant.types import AdapterVersion
from benchmarks.sides.base import Call, Record, spread

ROOT = Path(__file__).parents[2]
_READY_S, _ANSWER_S = 600.0, 3600.0
_BASE = "base"
_VARIABLES = {
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


class NoServer(Exception):
    """vLLM is not there, or does not run on this machine; the message says which."""


def interpreter() -> Path:
    """Return the Python that vLLM is installed beside: `VLLM_PYTHON`, or what `make test-vllm` made.

    Raises:
        NoServer: there is none.
    """
    file = Path(os.environ.get("VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
    if not file.is_file():
        raise NoServer("there is no vLLM here: `make test-vllm` makes .venv-vllm, or set VLLM_PYTHON")
    return file


class Served:
    """A running server with some adapters, or none."""

    def __init__(
        self, model: Path, versions: Sequence[AdapterVersion], dtype: str, *, log: Path, rows: int = 32
    ) -> None:
        self.dtype, self._versions, self._log = dtype, tuple(versions), log
        self._port = _free_port()
        command = [*_command(model, dtype, self._port, rows), *_adapters(versions)]
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [str(interpreter()), *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **_VARIABLES, "VLLM_CACHE_ROOT": str(log.parent / "vllm")},
                start_new_session=True,
            )
        try:
            self._wait()
        except NoServer:
            self.close()
            raise
        self._signal(signal.SIGSTOP)

    @property
    def name(self) -> str:
        """Its name in figures."""
        return f"vllm_{'lora' if self._versions else 'base'}_{self.dtype}"

    def run(self, calls: Sequence[Call]) -> Record:
        """Send all calls at once; returns when the last stream has ended.

        Raises:
            NoServer: the server failed meanwhile.
        """
        self._signal(signal.SIGCONT)
        try:
            return asyncio.run(self._together(calls))
        except httpx.HTTPError as error:
            raise NoServer(f"vLLM failed in {self.dtype}: {_last_line(self._log)}") from error
        finally:
            self._signal(signal.SIGSTOP)

    def close(self) -> None:
        """Stop the server and what it started."""
        if self._process.poll() is None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                pass
        self._signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _wait(self) -> None:
        until = time.monotonic() + _READY_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise NoServer(f"vLLM does not start here in {self.dtype}: {_last_line(self._log)}")
            try:
                if httpx.get(f"http://127.0.0.1:{self._port}/health", timeout=5).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        raise NoServer(f"vLLM was not ready after {_READY_S:.0f} s: {_last_line(self._log)}")

    async def _together(self, calls: Sequence[Call]) -> Record:
        limits = httpx.Limits(max_connections=None)
        url = f"http://127.0.0.1:{self._port}"
        async with httpx.AsyncClient(base_url=url, timeout=_ANSWER_S, limits=limits) as client:
            began = time.perf_counter()
            asked = [self._ask(client, call, began) for call in calls]
            answers = await asyncio.gather(*asked)
        return Record(
            stamps=tuple(stamps for stamps, _ in answers), tokens=tuple(tokens for _, tokens in answers)
        )

    async def _ask(
        self, client: httpx.AsyncClient, call: Call, began: float
    ) -> tuple[tuple[float, ...], tuple[int, ...]]:
        body = {
            "model": _BASE if call.adapter is None else str(call.adapter),
            "prompt": list(call.tokens),
            "max_tokens": call.new_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "return_token_ids": True,
            "stream": True,
        }
        stamps: list[float] = []
        tokens: list[int] = []
        async with client.stream("POST", "/v1/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                own = chunk_tokens(line)
                now = time.perf_counter() - began
                stamps.extend(spread(len(own), stamps[-1] if stamps else now, now))
                tokens.extend(own)
        if len(tokens) != call.new_tokens:
            raise RuntimeError(f"vLLM gave {len(tokens)} tokens for {call.new_tokens}.")
        return tuple(stamps), tuple(tokens)


def chunk_tokens(line: str) -> list[int]:
    """Ids of the tokens in one line of an event stream."""
    data = line.removeprefix("data:").strip()
    if not line.startswith("data:") or data == "[DONE]":
        return []
    content: Mapping[str, list[dict[str, list[int]]]] = json.loads(data)
    return [token for choice in content.get("choices", []) for token in choice.get("token_ids") or []]


def _command(model: Path, dtype: str, port: int, rows: int) -> list[str]:
    settings = {
        "--model": str(model),
        "--served-model-name": _BASE,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": dtype,
        "--max-model-len": "1024",
        "--max-num-seqs": str(rows),
    }
    flat = [part for pair in settings.items() for part in pair]
    return [
        "-m",
        "vllm.entrypoints.openai.api_server",
        *flat,
        "--enforce-eager",
        "--no-enable-prefix-caching",
    ]


def _adapters(versions: Sequence[AdapterVersion]) -> list[str]:
    if not versions:
        return []
    rank = max(version.rank for version in versions)
    modules = [f"{number}={version.path}" for number, version in enumerate(versions)]
    return [
        "--enable-lora",
        "--max-loras",
        str(len(versions)),
        "--max-lora-rank",
        str(rank),
        "--lora-modules",
        *modules,
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    errors = [line for line in lines if "Error" in line]
    return (errors or [line for line in lines if line] or ["it said nothing"])[-1][:300]
