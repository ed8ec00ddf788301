"""Client: wrk with its shoppers, fast enough in C that it is not what is measured."""

import json
import resource
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from loadtest.rig import ORIGIN, pin

SCRIPT = Path(__file__).with_name("shoppers.lua")


class Missing(Exception):
    """A tool that this measure needs is not there. The message says how to get it."""


class Sent(NamedTuple):
    """What a client did: answered requests and events a second, errors, milliseconds, its share of a core."""

    requests: float
    events: float
    errors: int
    p50: float
    p99: float
    busy: float


class Client:
    """A running wrk."""

    def __init__(
        self,
        url: str,
        tag: str,
        seconds: int,
        *,
        events: int = 1,
        connections: int = 64,
        pause_ms: int = 0,
        core: int | None = None,
        shape: str = "json",
    ) -> None:
        if not shutil.which("wrk"):
            raise Missing("needs wrk. Mend: apt-get install wrk, or brew install wrk.")
        self._events = events
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT)]
        arguments = [tag, ORIGIN, str(events), str(pause_ms), str(secrets.randbelow(2**31)), shape]
        self._used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._process = subprocess.Popen(
            ["wrk", *options, url, "--", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        pin(self._process.pid, core)

    def result(self) -> Sent:
        """Wait for the end."""
        said, _ = self._process.communicate()
        _, found, text = said.partition("result ")
        if not found:
            raise RuntimeError(f"wrk failed:\n{said}")
        told = json.loads(text.splitlines()[0])
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = used.ru_utime + used.ru_stime - self._used.ru_utime - self._used.ru_stime
        rate = (told["requests"] - told["errors"]) / told["seconds"]
        return Sent(
            rate, rate * self._events, told["errors"], told["p50"], told["p99"], busy / told["seconds"]
        )
