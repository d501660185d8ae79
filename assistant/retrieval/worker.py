"""The process in which files are taken apart, and the client that may kill it.

It owns the bounds: a time limit held by the client, memory and CPU limits held by the operating system.
Hostile or broken files cost one worker, never the ingest. It refuses to exchange anything but JSON and
bytes with the process, so a subverted worker cannot run code in its parent.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from assistant.errors import IngestError

_ROOT = Path(__file__).resolve().parents[2]
_QUIET = {"MALLOC_ARENA_MAX": "2", "RAYON_NUM_THREADS": "2", "TOKIO_WORKER_THREADS": "2", "RUST_LOG": "off"}


class Worker:
    """A process that reads one file at a time; started when first needed and after every kill."""

    def __init__(self, *, timeout_s: float, memory_bytes: int) -> None:
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, data: bytes, uri: str) -> dict[str, Any]:
        """Return what the process makes of a file.

        Raises:
            IngestError: it cannot be read, or not within the limits.
        """
        with self._lock:
            process = self._running()
            deadline = time.monotonic() + self._timeout_s
            try:
                reply = _exchange(process, {"uri": uri, "cpu_s": self._timeout_s * 2}, data, deadline)
            except TimeoutError:
                self._kill()
                raise IngestError(
                    f"It took longer than {self._timeout_s:g} s to read.", remedy="Split or simplify it."
                ) from None
            except (OSError, EOFError, ValueError):
                self._kill()
                raise IngestError(
                    f"Reading it broke its process: more than {self._memory_bytes >> 20} MiB, or damaged.",
                    remedy="Split it, or open it in its own program and save it again.",
                ) from None
            except BaseException:
                self._kill()
                raise
        if "error" in reply:
            raise IngestError(reply["error"], remedy=reply.get("remedy", ""))
        return reply

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._kill()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._kill()
            path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "assistant.retrieval.worker", str(self._memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_QUIET, "PYTHONPATH": path},
                start_new_session=True,
            )
        return self._process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe:
                    pipe.close()
            except OSError:  # what was not yet sent to a dead process
                continue


def _exchange(
    process: subprocess.Popen[bytes], header: Mapping[str, Any], data: bytes, deadline: float
) -> dict[str, Any]:
    """Send a request and wait for its reply, both before `deadline`."""
    if not process.stdin or not process.stdout:
        raise EOFError
    head = json.dumps({**header, "size": len(data)}).encode() + b"\n"
    sending = memoryview(head + data)
    received = bytearray()
    source, sink = process.stdout.fileno(), process.stdin.fileno()
    os.set_blocking(sink, False)
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        selector.register(sink, selectors.EVENT_WRITE)
        while not received.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in selector.select(left):
                if key.fd == source:
                    piece = os.read(source, 1 << 20)
                    if not piece:
                        raise EOFError
                    received += piece
                    continue
                sending = sending[os.write(sink, sending[: 1 << 16]) :]
                if not sending:
                    selector.unregister(sink)
    reply = json.loads(received)
    if not isinstance(reply, dict):
        raise ValueError("not an object")
    return reply


def main() -> None:
    """Serve requests from standard input until it ends; replies go to the original standard output."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with replies
    _limit_memory(int(sys.argv[1]))
    requests = sys.stdin.buffer
    while line := requests.readline():
        request = json.loads(line)
        _limit_cpu(request["cpu_s"])
        replies.write(json.dumps(_reply(requests, request)).encode() + b"\n")
        replies.flush()


def _reply(requests: IO[bytes], request: Mapping[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    from assistant.retrieval.formats import read

    try:
        return asdict(read(requests.read(request["size"]), request["uri"]))
    except IngestError as error:
        return {"error": error.message, "remedy": error.remedy}
    except MemoryError:
        return {"error": "It needs more memory than the limit.", "remedy": "Split it."}
    except Exception as error:  # noqa: BLE001 - the edge of this process: any file, any failure
        return {"error": f"It cannot be read: {type(error).__name__}: {str(error)[:200]}."}


def _limit_memory(size_bytes: int) -> None:
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_AS, (size_bytes, size_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ValueError, OSError):  # a system that has no such limit, or a lower one already
        return


def _limit_cpu(seconds: float) -> None:
    """End this process if it goes on after its parent was killed and cannot stop it any more."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))
    except (ValueError, OSError):
        return


if __name__ == "__main__":
    main()
