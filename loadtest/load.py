"""Load: shoppers against `collector up` for a while; then its account must close.

events sent = fates that the client was told = fates that the server counted, and of those accepted
= rows in the archive + withdrawals + rows that a withdrawal erased. Exit code 1 when it does not close.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from collector import connections, keys, leash
from collector.archive.manifest import Manifest
from collector.settings import Settings
from collector.stream import read
from collector.stream.partitions import Installation, open_installation
from loadtest.rig import ADMIN_KEY, PATIENCE, STOP, Api, fetch, free_port

USERS = 20  # about 150 requests a second: below what two cores take, with locust on one of them
SECONDS = 60
LAST = 3  # seconds for the last answers


def main() -> None:
    """Start, send, stop, close the account."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.load", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--users", type=int, default=USERS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load-", ignore_cleanup_errors=True) as folder:
        sys.exit(0 if run(Path(folder), asked.users, asked.seconds) else 1)


def run(folder: Path, users: int, seconds: int) -> bool:
    """Whether the account closed; it is printed."""
    settings = Settings(data_dir=folder, port=free_port(), admin_key=ADMIN_KEY, flush_seconds=1)
    chosen = {name: getattr(settings, name) for name in ("data_dir", "port", "admin_key", "flush_seconds")}
    environment = os.environ | {f"COLLECTOR_{name.upper()}": str(value) for name, value in chosen.items()}
    up = leash.start([sys.executable, "-m", "collector", "up"], env=environment)
    try:
        api = _await_ready(settings.url)
        tag = api.ask("POST", "/v1/tags", {"name": "load", "origins": [settings.url]})["tag"]
        account = folder / "account.json"
        locust = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py"))]
        options = ["--headless", "--only-summary", "--host", settings.url]
        sending = leash.start(
            [*locust, *options, "-u", str(users), "-r", str(users), "-t", f"{seconds + LAST}s"],
            env=os.environ | {"LOAD_TAG": tag, "LOAD_SECONDS": str(seconds), "LOAD_ACCOUNT": str(account)},
        )
        try:
            sending.wait(seconds + PATIENCE)
        finally:
            sending.terminate()
            sending.wait(STOP)
        return close(settings, tag, Counter(json.loads(account.read_text())))
    finally:
        up.terminate()
        up.wait(2 * STOP)


def close(settings: Settings, tag: str, told: Counter[str]) -> bool:
    """Print what client, server and archive say, side by side; whether they agree."""
    sent, unanswered, erased = (told.pop(name, 0) for name in ("sent", "unanswered", "erased"))
    counted = fates(settings.url)
    archived = rows(settings, tag)
    accepted = sum(count for fate, count in counted.items() if fate.startswith("accepted"))
    lines = [
        ("events sent, fates told", sent, told.total()),
        *((fate, told[fate], counted[fate]) for fate in sorted(told | counted)),
        (
            "accepted = archived + erased + withdrawals",
            accepted,
            archived + erased + told["accepted withdrawn"],
        ),
    ]
    print(f"\n{'':48}{'one':>10}{'other':>10}")
    for name, one, other in lines:
        print(f"{name:48}{one:10,}{other:10,}{'' if one == other else '   does not close'}")
    print(f"{'rows archived, rows erased':48}{archived:10,}{erased:10,}")
    if unanswered:
        print(f"{unanswered} events got no answer: nobody can know their fate")
    return not unanswered and sent > 0 and all(one == other for _, one, other in lines)


def fates(url: str) -> Counter[str]:
    """«outcome reason» → events, as /metrics counts them."""
    text = fetch(f"{url}/metrics")
    counts: Counter[str] = Counter()
    for labels, value in re.findall(r"^collector_events_total\{(.+)\} (\S+)$", text, re.MULTILINE):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        counts[f"{named['outcome']} {named['reason']}"] += int(float(value))
    return counts


def rows(settings: Settings, tag: str) -> int:
    """The rows of a tag in the archive's files in force, once all is archived and the erasures are done."""
    with connections.open_redis(settings) as client:
        installation = open_installation(client, settings)
        end = time.monotonic() + PATIENCE
        while not _settled(client, installation, tag):
            if time.monotonic() > end:
                raise RuntimeError("the worker does not get done with the stream")
            time.sleep(0.2)
        found = 0
        for number in range(installation.partitions):
            manifest = Manifest(client, number, settings.archive)
            files = manifest.past(tag).files
            found += sum(pq.read_metadata(manifest.path(tag, file.name)).num_rows for file in files)
        return found


def _settled(client: connections.Redis, installation: Installation, tag: str) -> bool:
    for number in range(installation.partitions):
        last = read.parse(read.last_id(client, number))
        cursors = client.hmget(keys.state(number), ["cursor", "archived"])
        if any(read.parse(cursor or b"0-0") < last for cursor in cursors):
            return False
        if client.exists(f"{keys.tenant(number, tag)}:erasing"):
            return False
    return True


def _await_ready(url: str) -> Api:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            fetch(f"{url}/readyz")
            return Api(url)
        time.sleep(0.1)
    raise RuntimeError("`collector up` does not get ready")


if __name__ == "__main__":
    main()
