"""The installation: how many partitions there are, and the secret that names visitors without naming them."""

import secrets
from collections.abc import Collection
from typing import NamedTuple

from collector import event, keys
from collector.connections import Redis
from collector.settings import BadSetup, Settings

SCHEMA = b"2"
REMADE = (SCHEMA, b"1")
"""The forms that `rebuild` and `restore` begin with: they differ in what those make anew (1: dictionaries)."""


class Installation(NamedTuple):
    """What the first start wrote, for good."""

    partitions: int
    secret: bytes

    def partition(self, tag: str, visitor: str) -> int:
        """The partition of a visitor of a tag."""
        return event.spread(tag, visitor) % self.partitions


def open_installation(
    client: Redis, settings: Settings, schemas: Collection[bytes] = (SCHEMA,)
) -> Installation:
    """The installation of this server; the first caller writes it.

    Raises BadSetup when the settings ask for another number of partitions than there are, or the data has another form.
    """
    wanted = {
        "secret": secrets.token_hex(32).encode(),
        "partitions": str(settings.partitions).encode(),
        "schema": SCHEMA,
    }
    if None in client.hmget(
        keys.INSTALLATION, wanted
    ):  # a full Redis takes no write, but its drainer must start
        for name, value in wanted.items():
            client.hsetnx(keys.INSTALLATION, name, value)
    secret, partitions, schema = client.hmget(keys.INSTALLATION, wanted)
    if schema not in schemas:
        mend = "stop everything, and run `collector rebuild`" if schema in REMADE else "run the version that wrote it"
        raise BadSetup(
            f"The data has schema {schema.decode()}, this version reads {SCHEMA.decode()}. Mend: {mend}."
        )
    if int(partitions) != settings.partitions:
        raise BadSetup(
            f"The data has {int(partitions)} partitions, COLLECTOR_PARTITIONS is {settings.partitions}. "
            f"Mend: set it to {int(partitions)}, or run `collector rebuild --partitions {settings.partitions}`."
        )
    return Installation(int(partitions), bytes.fromhex(secret.decode()))
