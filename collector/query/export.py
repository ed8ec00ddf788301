"""Export: members as NDJSON or CSV, in the same form for the API and the command line."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import orjson

Format = Literal["ndjson", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run (OWASP, CSV injection)


def write(kind: str, form: Format, runs: Iterable[list[str]]) -> Iterator[bytes]:
    """The members of all runs, each under the name of their kind."""
    return column(kind, runs) if form == "csv" else _ndjson(kind, runs)


def _ndjson(kind: str, runs: Iterable[list[str]]) -> Iterator[bytes]:
    for found in runs:
        yield b"".join(orjson.dumps({kind: member}) + b"\n" for member in found)


def column(header: str, runs: Iterable[list[str]]) -> Iterator[bytes]:
    """CSV of one column under its name, or under none. What a spreadsheet would run gets an apostrophe in front."""
    if header:
        yield f"{header}\r\n".encode()
    for found in runs:
        page = io.StringIO()
        csv.writer(page).writerows(
            [f"'{member}" if member.startswith(FORMULA) else member] for member in found
        )
        yield page.getvalue().encode()
