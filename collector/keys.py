"""Every Redis key, in one table. `{p07}` is partition 7's hash slot; what belongs to no partition sits in `{c}`.

| key | type | holds |
|---|---|---|
| {c}:installation | hash | partitions, secret (hex), schema: written at first start |
| {c}:tags | hash | tag id → JSON record |
| {c}:api_keys | hash | SHA-256 of a key → JSON (role, tags, name) |
| {c}:audiences | hash | audience id → JSON record |
| {c}:deleted | hash | audience id → JSON record of a deleted audience that can still be brought back |
| {c}:edits:<audience> | stream | field e: an edit of the audience as JSON |
| {c}:history:<audience> | stream | recorded sizes, the entry id is the time |
| {c}:imports | hash | <tag>:<file digest> → JSON ledger head |
| {c}:tally:<tag>:<day> | hash | counts of fates and the last second of each event name; day: Unix days |
| {c}:feed:<tag> | stream | field e: the events of one edge in one second, with their fates; see feed.py |
| {c}:pace:<minute> | hash | counts of fates of all tags; minute: Unix minutes, with an expiry |
| {c}:edges | hash | name of an edge → JSON of what it says of itself |
| {c}:fresh | hash | partition → JSON of how long its last events took to their columns |
| {c}:audit | stream | who did what, see audit.py |
| {c}:erase_now | string | Unix second: the erasures asked for up to it are finished without delay |
| {c}:workers | zset | worker id → last heartbeat (Unix ms) |
| {c}:people | hash | login → JSON of who may sign in to the dashboard |
| {c}:session:<SHA-256 of its token> | string | JSON of a session, with an expiry |
| {c}:link:<SHA-256 of its token> | string | JSON of a link that works once, with an expiry |
| {c}:tries:<mark of a login> | hash | failed, last: tries to sign in, with an expiry |
| {c}:chores | string | lease of the worker that does the installation-wide chores |
| {p}:events | stream | field e: one StreamedEvent as JSON |
| {p}:state | hash | cursor, archived, epoch, erasures, flush_to |
| {p}:lease | string | the worker that owns the partition, with an expiry |
| {p}:dead | hash | <visitor_mark() or 0>:<stream id> → dead letter, see stream/dead.py |
| {p}:ids | hash | generation → number of event ids |
| {p}:ids:<generation>:<bucket> | set of ints | event ids seen (keyed 63-bit hashes), small enough to stay an intset |
| {p}:imports | hash | <tag>:<file digest> → last line appended to this partition |
| {p}:tags | set | tags with anything in this partition |
| {p}:wanting | set | tags of which a leaf may want more past |
| {p}:<tag>:meta | hash | visitors, next (ordinal), buckets, version (the last one given to a chunk) |
| {p}:<tag>:dict:<bucket> | hash | what the bucket leaves of a visitor's hash → ordinal, or some of them |
| {p}:<tag>:ids:<page> | string | visitor keys of 17 bytes, by ordinal; 240 a page |
| {p}:<tag>:texts:<page> | hash | ordinal mod 64 → visitor key of another length |
| {p}:<tag>:free | list | ordinals to use again |
| {p}:<tag>:leaves | set | leaf ids |
| {p}:<tag>:leaf:<leaf> | hash | condition, count, live_from, covered_from, wanted_from, filling_from, after, failed, touched |
| {p}:<tag>:col:<leaf>:<plane>:<chunk> | string | u32 little-endian seconds by ordinal |
| {p}:<tag>:ver:<leaf> | string | u32 version of each chunk |
| {p}:<tag>:bars / :tombs | hash | visitor_mark() → Unix seconds T |
| {p}:<tag>:erasing | set | marks of erased visitors whose archive rows are still to go |
| {p}:pending | hash | <tag>:<visitor_mark()> → erasure that is not proven yet, see worker/erasure.py |
| {p}:<tag>:manifest | hash | archive file → JSON (rows, span of ids and times) |
| {p}:garbage | zset | replaced archive file → Unix seconds to delete it at |
"""

from functools import cache
from hashlib import blake2b
from struct import Struct

INSTALLATION = "{c}:installation"
TAGS = "{c}:tags"
API_KEYS = "{c}:api_keys"
AUDIENCES = "{c}:audiences"
DELETED = "{c}:deleted"
IMPORTS = "{c}:imports"
ERASE_NOW = "{c}:erase_now"
WORKERS = "{c}:workers"
CHORES = "{c}:chores"
PEOPLE = "{c}:people"
EDGES = "{c}:edges"
FRESH = "{c}:fresh"
AUDIT = "{c}:audit"


def history(audience: str) -> str:
    return f"{{c}}:history:{audience}"


def edits(audience: str) -> str:
    return f"{{c}}:edits:{audience}"


def tally(tag: str, day: int) -> str:
    return f"{{c}}:tally:{tag}:{day}"


def feed(tag: str) -> str:
    return f"{{c}}:feed:{tag}"


def pace(minute: int) -> str:
    return f"{{c}}:pace:{minute}"


def session(digest: str) -> str:
    return f"{{c}}:session:{digest}"


def link(digest: str) -> str:
    return f"{{c}}:link:{digest}"


def tries(mark: int) -> str:
    return f"{{c}}:tries:{mark}"


def partition(number: int) -> str:
    """The prefix of a partition's keys: its hash slot."""
    return f"{{p{number:02d}}}"


def events(number: int) -> str:
    return f"{partition(number)}:events"


def state(number: int) -> str:
    return f"{partition(number)}:state"


def dead(number: int) -> str:
    return f"{partition(number)}:dead"


def lease(number: int) -> str:
    return f"{partition(number)}:lease"


def pending(number: int) -> str:
    return f"{partition(number)}:pending"


def tenant(number: int, tag: str) -> str:
    """The prefix of what a tag has in a partition."""
    return f"{partition(number)}:{tag}"


def visitor_mark(secret: bytes, tag: str, visitor: str) -> int:
    """A visitor under the installation's key, 63 bits: names marks and archive rows without naming the visitor."""
    return keyed_hash(secret, f"{tag}\0{visitor}")


def visitor_name(mark: int) -> str:
    """A mark as people and proof files read it."""
    return f"{mark:016x}"


def event_mark(secret: bytes, tag: str, visitor: str, event: str, event_id: str) -> int:
    """(tag, visitor, event, event_id) under the installation's key, 63 bits: what «the same event» means."""
    return keyed_hash(secret, f"{tag}\0{visitor}\0{event}\0{event_id}")


def keyed_hash(secret: bytes, text: str) -> int:
    state = _keyed(secret).copy()  # twice as fast as to begin anew
    state.update(text.encode())
    number: int = _big_endian(state.digest())[0]
    return number >> 1


@cache
def _keyed(secret: bytes) -> blake2b:
    return blake2b(key=secret, digest_size=8)


_big_endian = Struct(">Q").unpack
