"""Server-side scripts: read from the package, with the pieces that they share put in front."""

from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import ResponseError

from collector.connections import Redis

SHARED = {
    "lineage": ("stream", "lineage.lua"),
    "buckets": ("stream", "buckets.lua"),
    "newest": ("stream", "newest.lua"),
    "columns": ("audience", "columns.lua"),
}


def allow_oom(text: str) -> str:
    """The script with the flag that lets it run above maxmemory: it drains, erases or minds leases (invariant 7)."""
    return "#!lua flags=allow-oom\n" + text


# KEYS: one. ARGV: a command and what follows the key.
ONE = allow_oom("return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))")


def drained(client: Redis, command: str, key: str, *args: str | bytes | int | float) -> Any:
    """One command on one key, also above maxmemory; at most 7,000 args, which go over Lua's stack."""
    return client.register_script(ONE)(keys=[key], args=[command, *args])


def failed(error: BaseException) -> bool:
    """Whether a script failed by itself on what it was given: the server is there, and takes others.

    A server that takes no scripts (full, MISCONF, read-only) says so before one begins, and names no line of it.
    """
    return isinstance(error, ResponseError) and "user_script" in str(error)


@cache
def source(package: str, name: str, *shared: str, drains: bool = False) -> str:
    """The Lua text of `collector/<package>/<name>.lua`; `drains` means allow_oom."""
    parts = [SHARED[piece] for piece in shared] + [(package, f"{name}.lua")]
    text = "".join(files("collector").joinpath(*part).read_text() for part in parts)
    return allow_oom(text) if drains else "#!lua\n" + text
