"""Every setting: name, type, default, meaning. Read once from the environment (`COLLECTOR_<NAME>`), else a secret's file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRETS = Path("/run/secrets")  # where Docker and Kubernetes put files; one named like a setting is that setting
URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
BEARER = re.compile(r"[!-~]+")  # what a header can hold, and is the same to everybody who reads it
BESIDE = {
    *("COLLECTOR_IMAGE", "COLLECTOR_PROXY_IMAGE", "COLLECTOR_REDIS_IMAGE"),  # docker-compose.yml's
    *("COLLECTOR_TEST_SERVER", "COLLECTOR_TEST_AWAY_SECONDS", "COLLECTOR_STATEFUL_EXAMPLES"),  # the tests'
    *("COLLECTOR_FAULTS", "COLLECTOR_DOCKER_TEST", "COLLECTOR_TABLES"),
}
"""Names of the environment that are read, but are no settings."""


class BadSetup(Exception):
    """The set-up cannot work. The message is one line: what, why, and how to mend it."""


def _like(pattern: re.Pattern[str], what: str) -> AfterValidator:
    """Takes nothing, or a text of the pattern; `what` says in words which."""

    def check(text: str) -> str:
        if text and not pattern.fullmatch(text):
            raise PydanticCustomError("form", f"Input should be {what}")
        return text

    return AfterValidator(check)


class Settings(BaseSettings):
    """The table. docs/settings.md shows the same rows; a test compares them."""

    model_config = SettingsConfigDict(env_prefix="COLLECTOR_", env_ignore_empty=True, allow_inf_nan=False, frozen=True, extra="ignore")

    redis_url: str = Field("", repr=False, description="The server: redis://, rediss:// or unix://; redis+cluster:// and redis+sentinel:// name several. Empty: the one in data_dir.")
    data_dir: Path = Field(Path("data"), description="Folder of the embedded server, the archive and the spool.")
    archive_dir: Path | None = Field(None, description="Folder of the Parquet archive. Empty: data_dir/archive.")
    host: str = Field("127.0.0.1", description="Address that serve listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that serve listens on.")
    public_url: Annotated[str, _like(URL, "a URL such as https://collect.shop.example")] = Field("", description="The collector's URL as browsers see it. Empty: http://host:port.")
    admin_key: Annotated[str, _like(BEARER, "letters, digits and signs of ASCII without blanks")] = Field("", repr=False, description="Fixes the admin key. Empty: one is made at first start and kept in data_dir.")
    partitions: int = Field(16, ge=1, le=1024, description="Partitions; written at first start, later only checked.")
    durability: Literal["always", "everysec"] = Field(
        "always", description="What appendfsync must be. everysec can lose about a second of acknowledged events in a power cut."
    )
    check_server: bool = Field(True, description="Refuse a server without AOF, the durability asked for, or noeviction.")
    high_water: float = Field(0.9, gt=0, le=1, description="Share of Redis maxmemory above which events get 503 and leaves are refused.")
    max_event_bytes: int = Field(65_536, gt=0, description="Bytes of one event's JSON.")
    max_body_bytes: int = Field(1_048_576, gt=0, description="Bytes of a request's body, after gunzip too.")
    max_events: int = Field(1_000, gt=0, description="Events in one request.")
    max_depth: int = Field(16, gt=0, description="Nesting of a request's JSON.")
    body_timeout: float = Field(10.0, gt=0, description="Seconds for a request's body to arrive; then 408.")
    append_timeout: float = Field(2.0, gt=0, description="Seconds for Redis to take a group of events; then the spool does, or 503.")
    wait_replicas: int = Field(0, ge=0, le=5, description="Replicas that must have an event before its 2xx (Redis' WAIT, at most half of append_timeout); see docs/cluster.md. 0: none.")
    spool_dir: Path | None = Field(None, description="Folder of the spool, and of the snapshot from which an edge starts without Redis. Empty: data_dir/spool.")
    spool_bytes: int = Field(1 << 30, ge=0, description="Bytes that one process's spool may take while Redis is away; past them events get 503. 0: no spool.")
    header_timeout: float = Field(10.0, gt=0, description="Seconds for a request's headers to arrive; then the connection ends.")
    max_header_bytes: int = Field(32_768, gt=0, description="Bytes of a request's headers, cookies included; then 431.")
    rate_per_ip: int = Field(200, ge=0, description="Ingest requests a second from one address (IPv6: one /64), averaged over 10 s; then 429. 0: no limit. Peers on loopback are not counted.")
    rate_per_tag: int = Field(0, ge=0, description="Events a second of one tag in one process, averaged over 10 s; then 429. 0: no limit.")
    trusted_proxies: str = Field("", description="Addresses and networks of the proxies in front, by commas: only they are believed in X-Forwarded-For.")
    id_window: int = Field(172_800, gt=0, description="Seconds for which an event id is remembered, by arrival (up to twice that). Tags send again for 48 hours: with less, what they repeat counts twice.")
    browser_max_age: int = Field(604_800, gt=0, description="Seconds; an older browser event is refused as too_old.")
    future_tolerance: int = Field(86_400, ge=0, description="Seconds; an event further in the future is refused as bad_time.")
    cookie_days: int = Field(395, gt=0, le=400, description="Life of the visitor cookie, in days.")
    tag_cache_seconds: float = Field(1.0, ge=0, description="Seconds for which the edge trusts its copy of the tags.")
    dnt: bool = Field(True, description="Whether Do Not Track counts.")
    tcf_vendor_id: int = Field(0, ge=0, le=65_535, description="The operator's id on the IAB's vendor list. 0: TCF strings are read for the publisher.")
    bot_filter: bool = Field(True, description="Whether crawlers' events are dropped on the browser and pixel routes.")
    batch_events: int = Field(2_000, gt=0, description="Events that a worker applies in one script call.")
    batch_merges: int = Field(8_000, gt=0, description="Column merges in one script call (about 2 µs each in the server).")
    poll_seconds: float = Field(0.02, gt=0, description="Least pause of a worker without a backlog between looks at its streams.")
    lease_seconds: float = Field(5.0, gt=0, description="Life of a partition's lease; a dead worker's partitions move after it.")
    max_dead_letters: int = Field(1_000, ge=0, description="Dead letters kept in a partition; a worker that would add more stops instead.")
    flush_seconds: float = Field(30.0, gt=0, description="Seconds after which waiting events are written to the archive.")
    flush_events: int = Field(20_000, gt=0, description="Waiting events of a partition that are written to the archive at once.")
    compact_files: int = Field(24, gt=1, description="Small archive files of a tag in a partition that are merged into one.")
    garbage_seconds: float = Field(86_400, ge=0, description="Seconds for which a replaced archive file stays for readers.")
    retention_days: int = Field(0, ge=0, description="Days that archive rows are kept, by event_time. 0: for ever.")
    consent_retention_days: int = Field(0, ge=0, description="Days that consent and erasure records are kept, by whole months. 0: for ever.")
    erasure_seconds: float = Field(21_600, ge=0, le=72_000, description="Seconds that finished erasures may wait for a rewrite of Redis' append-only file, which one rewrite serves.")
    max_column_bytes: int = Field(8 << 30, gt=0, description="Bytes that all columns may take; an audience beyond it is refused.")
    history_seconds: float = Field(3_600, gt=0, description="Seconds between recorded sizes of each audience.")
    session_idle_seconds: float = Field(43_200, ge=60, description="Seconds without a request after which the dashboard signs somebody out.")
    session_seconds: float = Field(604_800, ge=60, description="Seconds after which the dashboard asks for the password again in any case.")
    drain_seconds: float = Field(3.0, ge=0, le=4, description="Seconds of a stop between /readyz saying no and the port closing.")
    worker_metrics_port: int = Field(0, ge=0, le=65535, description="Port of a worker's /metrics. 0: none.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level that is logged.")

    @property
    def archive(self) -> Path:
        return self.archive_dir or self.data_dir / "archive"

    @property
    def spool(self) -> Path:
        return self.spool_dir or self.data_dir / "spool"

    @property
    def url(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def load(**overrides: object) -> Settings:
    """The command line's settings, else the environment's, else those of SECRETS. Raises BadSetup on the first bad one."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(_secrets_dir=SECRETS if SECRETS.is_dir() else None, **given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = f"COLLECTOR_{'_'.join(str(part) for part in first['loc'])}".upper()
        raise BadSetup(f"{name}: {first['msg']}. Mend: see docs/settings.md for what it takes.") from None


def unknown(environment: Mapping[str, str]) -> list[str]:
    """The names in an environment that look like settings, and are none."""
    known = {f"COLLECTOR_{name.upper()}" for name in Settings.model_fields} | BESIDE
    # Kubernetes describes to each pod the Services beside it: one that is called collector-… in names like ours.
    services = tuple(name.removesuffix("SERVICE_HOST") for name in environment if name.endswith("_SERVICE_HOST"))
    ours = {name for name in environment if name.upper().startswith("COLLECTOR_") and not name.startswith(services)}
    return sorted(name for name in ours if name.upper() not in known)
