"""A real vLLM server on loopback: started, killed and stopped as one group of processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx

MODEL = "smollm2"
CONTEXT = 2048
MAX_RANK = 16
_READY_S = 900
_STOP_S = 60
_ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
_OPTIONS = (
    "--served-model-name", MODEL, "--host", "127.0.0.1", "--dtype", "float32",
    "--max-model-len", str(CONTEXT), "--enforce-eager",
    "--enable-lora", "--max-loras", "4", "--max-lora-rank", str(MAX_RANK),
)  # fmt: skip


class VllmServer:
    """One server, started as often as a test needs it, always at the same address.

    Args:
        python: of the environment that vLLM is installed in.
        model: the model's folder.
        folder: for its log and its caches.
    """

    def __init__(self, python: Path, model: Path, folder: Path) -> None:
        self._python, self._model, self._folder = python, model, folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> Path:
        return self._folder / "server.log"

    def start(self) -> None:
        """Start the process; `wait` says when it is ready."""
        assert self._process is None, "it runs already"
        command = [
            self._python,
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            self._model,
            *_OPTIONS,
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--model", self._model, "--port", str(self._port)],
                env={**os.environ, **_ENVIRONMENT, "VLLM_CACHE_ROOT": str(self._folder / "cache")},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that its workers end with it
            )

    def wait(self) -> None:
        """Wait until it answers."""
        assert self._process is not None
        end = time.monotonic() + _READY_S
        while time.monotonic() < end and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=10).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.5)
        raise AssertionError(f"vLLM did not start:\n{self.log.read_text(errors='replace')[-4000:]}")

    def kill(self) -> None:
        """End it and its workers as a crash would, without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order, and what is left of it after a minute the hard way."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                pass
            self._end(signal.SIGKILL)

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        lines = httpx.get(f"{self.url}/metrics", timeout=60).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, how)
        except ProcessLookupError:
            pass
        self._process.wait(_STOP_S)
        self._process = None
