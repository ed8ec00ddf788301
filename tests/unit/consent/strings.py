"""Strings: TCF segments made by hand, bit by bit."""

from datetime import UTC, datetime

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
EVERY_PURPOSE = (24, (1 << 24) - 1)


def encoded(*fields: tuple[int, int], unit: int = 8) -> str:
    """(width, value) fields as base64url, filled up to a multiple of unit bits and then of a character."""
    bits = "".join(f"{value:0{width}b}" if width else "" for width, value in fields)
    for multiple in (unit, 6):
        bits += "0" * (-len(bits) % multiple)
    return "".join(ALPHABET[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def at(text: str) -> float:
    """Unix seconds of a date or time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def core(
    created: float,
    updated: float,
    vendors: tuple[tuple[int, int], ...] = ((16, 8), (1, 0), (8, 0)),
    unit: int = 8,
) -> str:
    """A core that agrees to every purpose, for vendors 1 to 8 of whom none is agreed to, or the given list."""
    head = ((6, 2), (36, int(created * 10)), (36, int(updated * 10)), (54, 0), (6, 4), (14, 0))
    return encoded(*head, EVERY_PURPOSE, (37, 0), *vendors, (17, 0), (12, 0), unit=unit)


def publisher(unit: int = 8) -> str:
    """A publisher segment that agrees to every purpose."""
    return encoded((3, 3), EVERY_PURPOSE, (24, 0), (6, 0), unit=unit)
