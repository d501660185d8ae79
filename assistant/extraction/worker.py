"""The client of the process in which files are taken apart, and the clock that kills it.

It owns the time limit, the restarts after a death, and the name of each failure. Hostile or broken files
cost one process, never the ingest; a file inside an archive costs only itself. It refuses to exchange
anything but JSON and bytes with the process, so a subverted one cannot run code in its parent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from assistant.errors import IngestError
from assistant.extraction.extracted import Extracted
from assistant.extraction.limits import Limits
from assistant.extraction.pipe import Pipe
from assistant.extraction.reading import Reading
from assistant.extraction.scratch import private_folder

_ROOT = Path(__file__).resolve().parents[2]
_QUIET = {"MALLOC_ARENA_MAX": "2", "RAYON_NUM_THREADS": "2", "TOKIO_WORKER_THREADS": "2", "RUST_LOG": "off"}
_MOST_DEATHS = 4  # over one file; what is left of an archive is given up then
_WHOLE = 10  # an archive's time, in times of one file
_RECYCLE_BYTES = 256 << 20
_RECYCLE_FILES = 300  # a new process costs 0.3 s; heaps of old ones grow by a third, then more slowly
_DAMAGED = "Split it, or open it in its own program and save it again."


class Worker:
    """A process that reads one file at a time; started when first needed and after every death.

    Args:
        readers: entry point of an extractor plug-in by extension.
    """

    def __init__(self, limits: Limits, *, readers: Mapping[str, str] | None = None) -> None:
        self._limits = limits
        self._settings = json.dumps({"limits": asdict(limits), "readers": dict(readers or {})})
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closing = False
        self._files = 0  # that this process has read
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """The process's number; None where none is running."""
        process = self._process
        return process.pid if process else None

    def read(self, data: bytes, uri: str) -> Extracted:
        """Return a file's text and structure, and of every file inside it.

        Raises:
            IngestError: it cannot be read, or not within the limits.
        """
        with self._lock:
            reading = Reading(until=time.monotonic() + _WHOLE * self._limits.timeout_s)
            self._finish(reading, data, uri)
        return reading.whole()

    def close(self) -> None:
        """End the process, also one that is reading: whoever waits for that is told that it broke."""
        self._closing = True
        if process := self._process:
            _end(process)
        with self._lock:
            self._kill()
            self._closing = False

    def _finish(self, reading: Reading, data: bytes, uri: str) -> None:
        """Have the file read, by as many processes as it takes."""
        for _ in range(_MOST_DEATHS):
            try:
                self._attempt(reading, data, uri)
                return
            except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
                if not reading.died(self._reason(error)) or self._closing:
                    return
            except BaseException:
                self._kill()
                raise
            if time.monotonic() > reading.until:
                break
        reading.give_up("Reading it took too long, or too many files in it broke their process.")

    def _attempt(self, reading: Reading, data: bytes, uri: str) -> None:
        """Have the file read, or what is left of it.

        Raises:
            OSError, EOFError, ValueError, KeyError, TypeError: out of time, dead, or nonsense.
        """
        process = self._running()
        if self._closing:
            raise EOFError("It is being closed.")
        assert process.stdin and process.stdout, "both ends are pipes"
        most = 16 * self._limits.max_characters + (1 << 20)  # bytes of a line: characters may be escaped
        pipe = Pipe(process.stdout.fileno(), process.stdin.fileno(), most_bytes=most)
        head = json.dumps({"uri": uri, "size": len(data), **reading.wanted()}).encode() + b"\n"
        pipe.send((head, data), deadline=time.monotonic() + self._limits.timeout_s)
        last = False
        while not last:
            deadline = min(time.monotonic() + self._limits.timeout_s, reading.until)
            said = json.loads(pipe.line(deadline=deadline))
            last = reading.hear(said)
        self._files += 1
        if said.get("resident_bytes", 0) > _RECYCLE_BYTES or self._files >= _RECYCLE_FILES:
            self._kill()

    def _reason(self, error: Exception) -> IngestError:
        """End the process and say what it died of."""
        process = self._process
        timed_out = isinstance(error, TimeoutError)
        if process and not timed_out:
            try:
                process.wait(1)  # its own signal, before ours
            except subprocess.TimeoutExpired:
                pass
        code = process.returncode if process else None
        self._kill()
        if code == -signal.SIGXCPU:
            return IngestError("It takes more processor time than a file of its size may.", remedy=_DAMAGED)
        if timed_out:
            return IngestError(
                f"It took longer than {self._limits.timeout_s:g} s to read.", remedy="Split or simplify it."
            )
        memory = f"more than {self._limits.memory_bytes >> 20} MiB of memory"
        causes = {
            -signal.SIGABRT: f"it needs {memory}, or nests too deeply",
            -signal.SIGSEGV: "it nests too deeply, or is damaged",
            -signal.SIGKILL: "the system was out of memory",
        }
        cause = causes.get(code or 0, f"it needs {memory}, or is damaged")
        return IngestError(f"Reading it broke its process: {cause}.", remedy=_DAMAGED)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._kill()
            self.starts += 1
            self._files = 0
            path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "assistant.extraction.bounded", self._settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_QUIET, "PYTHONPATH": path, "TMPDIR": private_folder()},
                start_new_session=True,
            )
        return self._process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _end(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe:
                    pipe.close()
            except OSError:  # what was not yet sent to a dead process
                continue


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):  # it ended by itself just now
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own: whatever it started ends too
