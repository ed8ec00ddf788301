"""Tries: how often a password may be guessed. After some, each has to wait twice as long as the one before."""

from collector import keys
from collector.clock import Clock
from collector.connections import Redis
from collector.stream import scripts

FREE = 5  # wrong passwords that a person with several may well try
LONGEST = 300  # seconds: some 300 guesses a day, and nobody who was locked out by others waits longer
FORGET = 900  # seconds without a try


def delay(failed: int) -> int:
    """Seconds from the last of so many failed tries to the next that is heard."""
    return 0 if failed < FREE else min(1 << (failed - FREE + 1), LONGEST)


DELAYS = [delay(failed) for failed in range(FREE + LONGEST.bit_length())]


class Tries:
    """Counts tries by login, whether or not anybody has it: else the lock would tell who is there."""

    def __init__(self, client: Redis, secret: bytes, clock: Clock) -> None:
        self._client = client
        self._secret = secret
        self._clock = clock

    def begin(self, login: str) -> int:
        """Seconds still to wait; 0: this try is heard, and counts as failed until it is forgiven."""
        script = scripts.source("dashboard", "tries")
        asked = self._client.eval(script, 1, self._key(login), int(self._clock()), FORGET, *DELAYS)
        return int(asked)

    def forgive(self, login: str) -> None:
        self._client.delete(self._key(login))

    def _key(self, login: str) -> str:
        return keys.tries(keys.keyed_hash(self._secret, f"login\0{login}"))
