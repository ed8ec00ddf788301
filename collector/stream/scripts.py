"""Server-side scripts: read from the package, with the pieces that they share put in front."""

from functools import cache
from importlib.resources import files

SHARED = {"buckets": ("stream", "buckets.lua"), "columns": ("audience", "columns.lua")}


def allow_oom(text: str) -> str:
    """The script with the flag that lets it run above maxmemory: it drains, erases or minds leases (invariant 7)."""
    return "#!lua flags=allow-oom\n" + text


@cache
def source(package: str, name: str, *shared: str, drains: bool = False) -> str:
    """The Lua text of `collector/<package>/<name>.lua`; `drains` means allow_oom."""
    parts = [SHARED[piece] for piece in shared] + [(package, f"{name}.lua")]
    text = "".join(files("collector").joinpath(*part).read_text() for part in parts)
    return allow_oom(text) if drains else "#!lua\n" + text
