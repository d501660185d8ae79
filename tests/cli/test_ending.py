"""How long commands are told to end."""

import os
import signal
import subprocess
import sys
import time

import pytest

from assistant.cli.ending import Ending, Stopped, ending

STUCK = """
import os, signal, sys
from assistant.cli.ending import ending
with ending() as end:
    os.kill(os.getpid(), signal.SIGTERM)
    print(end.told, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("not ended", flush=True)
"""


def test_a_second_sigterm_acts_by_default():
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, "True\n"), ended.stderr


def test_what_is_ignored_stays_ignored():
    """As the interrupt is for `assistant ingest &` in a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ending() as end:
            os.kill(os.getpid(), signal.SIGINT)
            end.proceed()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_interrupt_tells_and_is_raised():
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt), ending() as end:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        with pytest.raises(Stopped):
            end.proceed()
    finally:
        signal.signal(signal.SIGINT, inherited)


def test_waiting_ends_in_time_or_when_told():
    end, started = Ending(), time.monotonic()
    end.wait(0.05)
    assert 0.05 <= time.monotonic() - started < 5
    end.told = True
    end.wait(60)
    assert time.monotonic() - started < 30
