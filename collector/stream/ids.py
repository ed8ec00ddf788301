"""Event ids: which bucket remembers which, as append.lua and buckets.lua have it."""

LOAD = 192  # as in append.lua


def buckets_of(count: int) -> int:
    """How many buckets there are once `count` ids are remembered."""
    return max(-(-count // LOAD), 1)


def bucket_of(mark: int, buckets: int) -> int:
    """The bucket of an event's mark among so many."""
    # Lua's numbers are doubles: it divides what is left of the 63 bits, so that the hash is an exact integer again.
    hash_ = int(float(mark) / 4096)
    whole: int = 1 << (buckets.bit_length() - 1)
    bucket = hash_ % (2 * whole)
    return bucket if bucket < buckets else hash_ % whole
