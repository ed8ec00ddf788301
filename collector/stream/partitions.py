"""The installation: how many partitions there are, and the secret that names visitors without naming them."""

import secrets
from typing import NamedTuple

from collector import event, keys
from collector.connections import Redis
from collector.settings import BadSetup, Settings

SCHEMA = b"1"


class Installation(NamedTuple):
    """What the first start wrote, for good."""

    partitions: int
    secret: bytes

    def partition(self, tag: str, visitor: str) -> int:
        """The partition of a visitor of a tag."""
        return event.spread(tag, visitor) % self.partitions


def open_installation(client: Redis, settings: Settings) -> Installation:
    """The installation of this server; the first caller writes it.

    Raises BadSetup when the settings ask for another number of partitions than there are.
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
    if schema != SCHEMA:
        raise BadSetup(
            f"The data has schema {schema.decode()}, this version reads {SCHEMA.decode()}. "
            "Mend: run the version that wrote it."
        )
    if int(partitions) != settings.partitions:
        raise BadSetup(
            f"The data has {int(partitions)} partitions, COLLECTOR_PARTITIONS is {settings.partitions}. "
            f"Mend: set it to {int(partitions)}, or run `collector rebuild --partitions {settings.partitions}`."
        )
    return Installation(int(partitions), bytes.fromhex(secret.decode()))
