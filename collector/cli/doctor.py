"""`collector doctor`: looks at a running installation and says what to do."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import orjson
import typer

from collector import clock, connections, keys
from collector.archive import whole
from collector.archive.manifest import Manifest
from collector.audience.rules import LONGEST_DAYS
from collector.cli.options import DataDir
from collector.settings import BadSetup, Settings, load
from collector.stream import dead, pending, read
from collector.stream.partitions import Installation, open_installation

State = Literal["ok", "warn", "fail"]

LAG_LOOK = 1_000  # entries that are counted behind a cursor; beyond it «or more» says enough
LAG_WARN, LAG_FAIL = 60.0, 600.0  # seconds; a worker is within one or two
SKEW_WARN, SKEW_FAIL = 2.0, 60.0  # seconds; event_time is clamped to the edge's clock, so skew moves events
DISK_WARN, DISK_FAIL = 0.10, 0.03  # shares; at a full disk Redis stops under appendfsync always (FACTS)
READ = 4 << 30  # bytes of archive that are read for their checksums, in a few seconds
PARTITION = "partition "  # and its number: the check of its lag
HEARTBEAT = 30.0  # seconds without a sign after which a worker does not count
COLOURS: dict[State, str] = {"ok": "green", "warn": "yellow", "fail": "red"}


class Finding(NamedTuple):
    """One line: what was looked at, how it is, what was seen, what to do about it («» when ok)."""

    check: str
    state: State
    found: str
    mend: str = ""


def doctor(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document for machines.")] = False,
) -> None:
    """Check server, persistence, eviction, lag, clock, disk, retention: say what to do. Exit 1 on a fail."""
    findings = list(examine(load(data_dir=data_dir)))
    if as_json:
        typer.echo(orjson.dumps([finding._asdict() for finding in findings], option=orjson.OPT_INDENT_2))
    else:
        for finding in _brief(findings):
            mend = f" Mend: {finding.mend}" if finding.mend else ""
            state = typer.style(f"{finding.state:<4}", fg=COLOURS[finding.state])
            typer.echo(f"{state}  {finding.check}: {finding.found}.{mend}")
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(1)


def _brief(findings: list[Finding]) -> Iterator[Finding]:
    """For people: the partitions that keep up as one finding, before those that do not."""
    of_partitions = [finding for finding in findings if finding.check.startswith(PARTITION)]
    well = [finding for finding in of_partitions if finding.state == "ok"]
    for finding in findings:
        if well and finding is of_partitions[0]:
            yield Finding("lag", "ok", f"{len(well)} of {len(of_partitions)} partitions keep up")
        if finding not in well:
            yield finding


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order of looking. A server that is away ends the checks that need it."""
    try:
        with connections.open_redis(settings, timeout=10.0) as client:
            yield from _server(client, settings)
            yield _skew(client)
            installation = open_installation(client, settings)
            yield _workers(client)
            yield from _lags(client, installation)
            yield _archive_lag(client, installation)
            yield _owners(client, installation)
            yield _dead(client, installation, settings)
            yield _erasures(client, installation)
            yield _archive(client, installation, settings)
    except BadSetup as error:
        found, _, mend = str(error).partition(" Mend: ")
        yield Finding("server", "fail", found.rstrip("."), mend)
    except connections.Unavailable as error:
        yield Finding(
            "server", "fail", f"Redis does not answer ({error})", "start it, or correct COLLECTOR_REDIS_URL."
        )
    yield _disk("data disk", settings.data_dir)
    yield _disk("archive disk", settings.archive)
    yield _retention(settings)


def _server(client: connections.Redis, settings: Settings) -> Iterator[Finding]:
    infos: list[dict[str, Any]] = [server.info() for server in connections.servers(client)]
    info = infos[0]
    flavour = "Valkey" if "valkey_version" in info else "Redis"
    yield Finding("server", "ok", f"{flavour} {info.get('valkey_version', info['redis_version'])}")
    yield from _cluster(client)
    try:
        connections.check_server(client, settings.model_copy(update={"check_server": True}))
    except BadSetup as error:
        found, _, mend = str(error).partition(" Mend: ")
        yield Finding("promises", "fail" if settings.check_server else "warn", found.rstrip("."), mend)
    else:
        yield Finding("promises", "ok", f"append-only file, appendfsync {settings.durability}, noeviction")
    kept = ("aof_last_write_status", "aof_last_bgrewrite_status")
    if any(each.get(name) != "ok" for each in infos for name in kept):
        yield Finding(
            "persistence",
            "fail",
            "the last write or rewrite of the append-only file failed",
            "look at the server's log and disk.",
        )
    yield _memory(connections.memory(client), settings)


def _cluster(client: connections.Redis) -> Iterator[Finding]:
    """Of a cluster: whether all is covered and doubled, and no slot is on its way between two servers."""
    if not connections.clustered(client):
        return
    owners = connections.primaries(client)
    alone = sum(not int(owner.info("replication")["connected_slaves"]) for owner in owners)
    moving = any(b"->-" in told or b"-<-" in told for told in (_nodes(owner) for owner in owners))
    found = f"{len(owners)} primaries"
    if moving:
        mend = "stop edges and workers until it has arrived; see docs/cluster.md."
        yield Finding("cluster", "fail", f"{found}, and a slot moves between two of them", mend)
    elif alone:
        mend = "add replicas; when such a primary dies, its partitions wait until it is back."
        yield Finding("cluster", "warn", f"{found}, {alone} without a replica", mend)
    else:
        yield Finding("cluster", "ok", f"{found}, each with a replica")


def _nodes(server: connections.Redis) -> bytes:
    told: bytes = server.execute_command(b"CLUSTER NODES")
    return told


def _memory(info: dict[str, Any], settings: Settings) -> Finding:
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    found = f"{used / 2**20:,.0f} MiB used, {info['used_memory_rss'] / 2**20:,.0f} MiB resident"
    if not most:
        return Finding(
            "memory",
            "warn",
            f"{found}, no maxmemory",
            "set maxmemory, so that high water is noticed before the kernel does.",
        )
    found += f", maxmemory {most / 2**20:,.0f} MiB"
    if used > settings.high_water * most:
        return Finding("memory", "fail", found, "give the server more memory; events get 503 until then.")
    return Finding("memory", "ok", found)


def _skew(client: connections.Redis) -> Finding:
    before = clock.system()
    seconds, micros = client.time()
    after = clock.system()
    skew = abs(int(seconds) + int(micros) / 1e6 - (before + after) / 2)
    found = f"{skew:.2f} s between this machine and the server"
    if skew >= SKEW_WARN:
        return Finding("clock", "fail" if skew >= SKEW_FAIL else "warn", found, "run NTP on both.")
    return Finding("clock", "ok", found)


def _workers(client: connections.Redis) -> Finding:
    seconds, _ = client.time()  # the clock that heartbeats are written by
    alive = client.zcount(keys.WORKERS, (seconds - HEARTBEAT) * 1000, "+inf")
    if not alive:
        return Finding(
            "workers",
            "fail",
            "none has been heard of",
            "start `collector worker`; events wait in the streams until then.",
        )
    return Finding("workers", "ok", f"{alive} at work")


def _owners(client: connections.Redis, installation: Installation) -> Finding:
    numbers = range(installation.partitions)
    free = [f"{number:02d}" for number in numbers if not client.exists(keys.lease(number))]
    if free:
        found = f"no worker minds {', '.join(free[:5])}{' …' if len(free) > 5 else ''}"
        return Finding("partitions", "fail", found, "start a worker; one that is there takes them in seconds.")
    return Finding("partitions", "ok", f"each of {installation.partitions} has its worker")


def _archive_lag(client: connections.Redis, installation: Installation) -> Finding:
    """The oldest event that is in no file: until then a new audience gets no past, and the stream keeps growing."""
    ages = [
        _waiting(client, number, client.hget(keys.state(number), "archived"), 1)[1]
        for number in range(installation.partitions)
    ]
    found = f"the oldest event outside the archive is {max(ages):,.0f} s old"
    if max(ages) >= LAG_FAIL:
        return Finding("archiving", "warn", found, "look at the worker's log, and at the archive's disk and rights.")
    return Finding("archiving", "ok", found)


def _archive(client: connections.Redis, installation: Installation, settings: Settings) -> Finding:
    """Lengths of all files in force; checksums of the first READ bytes of them."""
    files, read_, damaged = 0, 0, []
    for number in range(installation.partitions):
        manifest = Manifest(client, number, settings.archive)
        for tag in sorted(client.smembers(f"{keys.partition(number)}:tags")):
            for file in manifest.past(tag.decode()).files:
                path = manifest.path(tag.decode(), file.name)
                files, read_ = files + 1, read_ + file.bytes
                try:
                    whole.check(path, file.bytes, file.crc if read_ <= READ else None)
                except whole.Damaged:
                    damaged.append(str(path))
    if damaged:
        names = f"{', '.join(damaged[:5])}{' …' if len(damaged) > 5 else ''}"
        found = f"{len(damaged)} of {files} files {'is' if len(damaged) == 1 else 'are'} damaged or gone: {names}"
        return Finding("archive", "fail", found, "put them back from a backup; what needs them is refused.")
    return Finding("archive", "ok", f"{files} files, as they were written")


def _dead(client: connections.Redis, installation: Installation, settings: Settings) -> Finding:
    count = dead.count(client, installation)
    if not count:
        return Finding("dead letters", "ok", "none")
    found = f"{count:,}; a worker stops at {settings.max_dead_letters:,} in a partition"
    return Finding("dead letters", "warn", found, "`collector dead list` says why; then `retry` or `drop` them.")


def _erasures(client: connections.Redis, installation: Installation) -> Finding:
    found = pending.all_of(client, range(installation.partitions)).values()
    asked = [each.asked for some in found for each in some]
    late = sum(at < clock.system() - clock.DAY for at in asked)
    if late:
        told = f"{late:,} of {len(asked):,} pending ones were asked for more than a day ago"
        mend = "see that a worker runs, and that its user may call BGREWRITEAOF, INFO, SLOWLOG and COMMANDLOG."
        return Finding("erasures", "fail", told, mend)
    return Finding("erasures", "ok", f"{len(asked):,} wait for their proof" if asked else "all are proven")


def _lags(client: connections.Redis, installation: Installation) -> Iterator[Finding]:
    for partition in range(installation.partitions):
        cursor: Any = client.hget(keys.state(partition), "cursor")
        yield lag(partition, _waiting(client, partition, cursor), client.xlen(keys.events(partition)))


def _waiting(
    client: connections.Redis, partition: int, cursor: bytes | None, most: int = LAG_LOOK
) -> tuple[int, float]:
    """Entries behind the cursor, up to so many, and the age of the oldest in seconds."""
    waiting = read.after(client, partition, cursor.decode() if cursor else read.START, most)
    return len(waiting), (clock.system() - read.parse(waiting[0].id)[0] / 1000 if waiting else 0.0)


def lag(partition: int, waiting: tuple[int, float], length: int) -> Finding:
    """The finding for a partition with so many entries waiting, the oldest so old, of a stream so long."""
    count, age = waiting
    check = f"{PARTITION}{partition:02d}"
    if not count:
        return Finding(check, "ok", f"no lag, {length:,} in the stream")
    shown = f"{count:,}{' or more' if count == LAG_LOOK else ''}"
    found = f"{shown} behind, the oldest for {age:,.0f} s, {length:,} in the stream"
    if age >= LAG_WARN:
        return Finding(
            check,
            "fail" if age >= LAG_FAIL else "warn",
            found,
            "start more workers, or look at the worker's log.",
        )
    return Finding(check, "ok", found)


def _disk(check: str, folder: Path) -> Finding:
    place = next(place for place in [folder.absolute(), *folder.absolute().parents] if place.exists())
    total, _, free = shutil.disk_usage(place)
    found = f"{free / 2**30:,.1f} GiB free of {total / 2**30:,.1f}"
    if free < DISK_WARN * total:
        return Finding(
            check,
            "fail" if free < DISK_FAIL * total else "warn",
            found,
            f"make room on the disk of {folder}.",
        )
    return Finding(check, "ok", found)


def _retention(settings: Settings) -> Finding:
    kept, longest = settings.retention_days, LONGEST_DAYS
    if kept and kept < longest:
        return Finding(
            "retention",
            "warn",
            f"archive rows go after {kept} days, lookbacks reach {longest}",
            f"COLLECTOR_RETENTION_DAYS={longest}, or 0 for ever; a backfill finds nothing older than it.",
        )
    return Finding(
        "retention",
        "ok",
        f"archive rows stay {f'{kept} days' if kept else 'for ever'}, lookbacks reach {longest}",
    )
