"""The registry of audiences: their records, the leaves that they need, and how far those are."""

import secrets
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
from redis.exceptions import ResponseError

from collector import connections, keys, names
from collector.audience import rules
from collector.audience.columns import STOPPED, Columns, Progress
from collector.audience.rules import Leaf, Rule
from collector.audience.sizes import Question
from collector.clock import DAY, Clock
from collector.connections import Redis, memory
from collector.settings import Settings
from collector.stream import read
from collector.stream.partitions import Installation
from collector.worded import Worded

LEAST = 100  # members that an ad platform asks of an audience
GRACE = 600  # seconds from registering a leaf to its removal at the earliest: the audience's record comes after it;
# and from deleting an audience to its end, until which it can be brought back with its columns
MOST_EDITS = 200  # that are remembered of an audience

Status = Literal["INITIALIZING", "READY", "TOO_SMALL", "FAILED"]


class Audience(msgspec.Struct, kw_only=True):
    """An audience as it is stored. Times are Unix seconds; started: the newest id of each partition's stream."""

    id: str
    tag: str
    name: str
    description: str
    rule: msgspec.Raw
    created_at: int
    updated_at: int
    started: list[str]

    def parsed(self) -> Rule:
        return rules.parse(msgspec.json.decode(self.rule))

    def question(self, at: int, lookback_days: int | None = None) -> Question:
        return Question.of(self.parsed(), self.created_at, at, lookback_days)


class Edit(msgspec.Struct, kw_only=True):
    """One edit of an audience. at: Unix seconds; changed: the fields; name, rule: what they were before."""

    at: int
    changed: list[str]
    name: str
    rule: msgspec.Raw


class Standing(NamedTuple):
    """How far an audience is. progress: 0..1. The status READY becomes TOO_SMALL when the size says so."""

    status: Status
    reason: str
    mend: str
    progress: float


class TooMuch(Worded):
    """The columns of a new audience would not fit. The message says how much and how to mend it."""


class NotFound(LookupError):
    """There is no such audience."""


decode = msgspec.json.Decoder(Audience).decode
encode = msgspec.json.Encoder().encode


class Registry:
    """The audiences of an installation. All methods raise connections.Unavailable when Redis cannot answer."""

    def __init__(self, client: Redis, installation: Installation, settings: Settings, clock: Clock) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self.columns = [Columns(client, installation, number) for number in range(installation.partitions)]

    def create(self, tag: str, name: str, description: str, rule: object) -> Audience:
        """Register the rule's leaves, then the audience. Raises rules.RuleError, TooMuch, and BadSetup for the name."""
        parsed = rules.parse(rule)
        name = names.check(name, "The audience's name")
        now = int(self._clock())
        self._weigh(tag, parsed.leaves())
        audience = Audience(
            id=str(secrets.randbelow(9 * 10**12) + 10**12),
            tag=tag,
            name=name,
            description=description,
            rule=msgspec.Raw(encode(rule)),
            created_at=now,
            updated_at=now,
            started=self._register(tag, parsed, now),
        )
        self._save(audience)
        return audience

    def edit(
        self, audience: Audience, *, name: str | None, description: str | None, rule: object | None
    ) -> Audience:
        """The audience as it is now, with what is given changed. Its created_at, and so the floor without past, stays.

        Raises NotFound when somebody deletes it meanwhile, and what create() raises.
        """
        now = int(self._clock())
        given: dict[str, object] = {"updated_at": now}
        if name is not None:
            given["name"] = names.check(name, "The audience's name")
        if description is not None:
            given["description"] = description
        if rule is not None:
            parsed = rules.parse(rule)
            self._weigh(audience.tag, parsed.leaves())
            given["rule"] = msgspec.Raw(encode(rule))
            given["started"] = self._register(audience.tag, parsed, audience.created_at)
        found = connections.change(
            self._client,
            keys.AUDIENCES,
            audience.id,
            lambda record: encode(msgspec.structs.replace(decode(record), **given)),
        )
        if found is None:
            raise NotFound(audience.id)
        before, changed = map(decode, found)
        self._note(before, changed)
        return changed

    def edits(self, audience: Audience) -> list[Edit]:
        """The last edits, oldest first."""
        entries: list[tuple[bytes, dict[bytes, bytes]]] = self._client.xrange(keys.edits(audience.id))
        return [msgspec.json.decode(fields[b"e"], type=Edit) for _, fields in entries]

    def delete(self, audience: Audience) -> None:
        """It is gone at once. For the grace restore() brings it back; then history and leaves go, too, the latter
        unless another audience has them."""
        gone = msgspec.structs.replace(audience, updated_at=int(self._clock()))
        self._client.hset(keys.DELETED, audience.id, encode(gone))
        self._client.hdel(keys.AUDIENCES, audience.id)

    def deleted(self, audience: str) -> Audience:
        """An audience that was deleted, updated_at that second. Raises NotFound once it cannot be brought back."""
        raw: bytes | None = self._client.hget(keys.DELETED, audience)
        if raw is None:
            raise NotFound(audience)
        return decode(raw)

    def restore(self, deleted: Audience) -> Audience:
        """Bring a deleted audience back, as it was."""
        restored = msgspec.structs.replace(
            deleted,
            updated_at=int(self._clock()),
            started=self._register(deleted.tag, deleted.parsed(), deleted.created_at),
        )
        self._save(restored)
        self._client.hdel(keys.DELETED, deleted.id)
        return restored

    def weight(self, tag: str, rule: object) -> int:
        """Bytes that the columns of a rule's new leaves take now. Raises rules.RuleError and TooMuch."""
        return self._weigh(tag, rules.parse(rule).leaves())

    def get(self, audience: str) -> Audience:
        """Raises NotFound."""
        raw: bytes | None = self._client.hget(keys.AUDIENCES, audience)
        if raw is None:
            raise NotFound(audience)
        return decode(raw)

    def all(self, tag: str | None = None) -> list[Audience]:
        """All audiences, or a tag's, oldest first."""
        raws: list[bytes] = self._client.hvals(keys.AUDIENCES)
        found = [audience for audience in map(decode, raws) if tag in (None, audience.tag)]
        return sorted(found, key=lambda audience: (audience.created_at, audience.name, audience.id))

    def standings(self, audiences: Sequence[Audience]) -> list[Standing]:
        """How far each audience is; one round trip a partition and tag for all of them."""
        wanted: dict[str, dict[str, None]] = {}
        for audience in audiences:
            wanted.setdefault(audience.tag, {}).update((leaf.id, None) for leaf in audience.parsed().leaves())
        known = {
            (tag, number): columns.progress(tag, list(leaves))
            for tag, leaves in wanted.items()
            for number, columns in enumerate(self.columns)
        }
        return [
            _standing(audience, [known[audience.tag, number] for number in range(len(self.columns))])
            for audience in audiences
        ]

    def record(self, audience: Audience, size: int) -> None:
        """Note a size in the audience's history, at the present second."""
        now = int(self._clock())
        key = keys.history(audience.id)
        try:
            self._client.xadd(key, {"size": size}, id=f"{now * 1000}-0")
        except ResponseError:  # this second has one already
            return
        self._client.xtrim(key, minid=f"{(now - rules.LONGEST_DAYS * DAY) * 1000}-0")

    def history(self, audience: Audience) -> list[tuple[int, int]]:
        """The recorded (Unix second, size), oldest first."""
        entries: list[tuple[bytes, dict[bytes, bytes]]] = self._client.xrange(keys.history(audience.id))
        return [(read.parse(entry)[0] // 1000, int(fields[b"size"])) for entry, fields in entries]

    def drop_unused_leaves(self) -> int:
        """Remove the leaves that no audience has used for the grace, with their columns; how many."""
        before = int(self._clock()) - GRACE
        users = [*self.all(), *self._lingering(before)]
        used = {(audience.tag, leaf.id) for audience in users for leaf in audience.parsed().leaves()}
        gone = 0
        for columns in self.columns:
            for tag, row in columns.load().tags.items():
                for leaf in row.leaves:
                    if (tag, leaf.id) not in used:
                        gone += columns.unregister(tag, leaf.id, before)
        return gone

    def _lingering(self, before: int) -> list[Audience]:
        """The deleted audiences that can be brought back; those deleted before that second end here."""
        raws: list[bytes] = self._client.hvals(keys.DELETED)
        found = list(map(decode, raws))
        for audience in found:
            if audience.updated_at < before:
                self._client.hdel(keys.DELETED, audience.id)
                self._client.delete(keys.history(audience.id), keys.edits(audience.id))
        return [audience for audience in found if audience.updated_at >= before]

    def _note(self, before: Audience, after: Audience) -> None:
        changed = [
            name for name in ("name", "description", "rule") if getattr(before, name) != getattr(after, name)
        ]
        if changed:
            edit = Edit(at=after.updated_at, changed=changed, name=before.name, rule=before.rule)
            key = keys.edits(before.id)
            self._client.xadd(key, {"e": encode(edit)}, maxlen=MOST_EDITS, approximate=False)

    def stop_filling(self, audience: Audience) -> int:
        """Stop the backfills that the audience waits for; of how many columns. What they have read stays."""
        return self._set_filling(audience, "", STOPPED)

    def resume_filling(self, audience: Audience) -> int:
        """Let the stopped backfills of the audience go on where they were; of how many columns."""
        return self._set_filling(audience, STOPPED, "")

    def stopped(self, audience: Audience) -> bool:
        """Whether a backfill that the audience waits for was stopped."""
        leaves = [leaf.id for leaf in audience.parsed().leaves()]
        return any(
            state.failed == STOPPED
            for columns in self.columns
            for state in columns.progress(audience.tag, leaves).leaves.values()
        )

    def _set_filling(self, audience: Audience, was: str, now: str) -> int:
        leaves = [leaf.id for leaf in audience.parsed().leaves()]
        changed = 0
        for columns in self.columns:
            for leaf, state in columns.progress(audience.tag, leaves).leaves.items():
                if state.wanted_from < state.covered_from and (state.failed == STOPPED) == (was == STOPPED):
                    columns.fail(audience.tag, leaf, now)
                    changed += 1
        return changed

    def _register(self, tag: str, rule: Rule, created_at: int) -> list[str]:
        wanted_from = 0 if rule.prefill else created_at
        newest = read.START
        started = []
        for columns in self.columns:
            for leaf in rule.leaves():
                _, newest = columns.register(
                    tag, leaf.id, leaf.form.encode(), leaf.count, wanted_from, int(self._clock())
                )
            started.append(newest)
        return started

    def _weigh(self, tag: str, leaves: Sequence[Leaf]) -> int:
        """Bytes that new leaves take. Raises TooMuch when they do not fit the setting or Redis is nearly full."""
        taken = new = 0
        for columns in self.columns:
            known = columns.progress(tag, [leaf.id for leaf in leaves]).leaves
            for owner, (ordinals, planes) in columns.weigh().items():
                taken += 4 * ordinals * planes
                if owner == tag:
                    new += 4 * ordinals * sum(leaf.count for leaf in leaves if leaf.id not in known)
        if new and taken + new > self._settings.max_column_bytes:
            raise TooMuch(
                "The new conditions take %(new)s bytes beside %(taken)s; COLLECTOR_MAX_COLUMN_BYTES allows %(most)s. "
                "Mend: raise it, or delete audiences whose conditions nobody needs.",
                new=f"{new:,}",
                taken=f"{taken:,}",
                most=f"{self._settings.max_column_bytes:,}",
            )
        info = memory(self._client)
        limit = info.get("maxmemory", 0) * self._settings.high_water
        if new and limit and info["used_memory"] + new > limit:
            raise TooMuch(
                "The new conditions take %(new)s bytes, and Redis would pass its high-water mark of %(most)s. "
                "Mend: give Redis more memory, or delete audiences whose conditions nobody needs.",
                new=f"{new:,}",
                most=f"{int(limit):,}",
            )
        return new

    def _save(self, audience: Audience) -> None:
        self._client.hset(keys.AUDIENCES, audience.id, encode(audience))


def _standing(audience: Audience, partitions: Sequence[Progress]) -> Standing:
    rule = audience.parsed()
    needed = 0 if rule.prefill else audience.created_at
    leaves = [leaf.id for leaf in rule.leaves()]
    filled = behind = 0
    for number, progress in enumerate(partitions):
        behind += read.parse(progress.cursor) < read.parse(audience.started[number])
        for leaf in leaves:
            state = progress.leaves.get(leaf)
            if state is None:
                return Standing(
                    "FAILED",
                    f"A condition's column is missing in partition {number}.",
                    "Save the rule again.",
                    0,
                )
            if state.failed == STOPPED:
                return Standing(
                    "FAILED", "Somebody stopped reading its past traffic.", "An admin can let it go on.", 0
                )
            if state.failed:
                return Standing(
                    "FAILED", f"Past traffic could not be read: {state.failed}", "See the worker's log.", 0
                )
            filled += state.covered_from <= needed
    total = len(leaves) * len(partitions)
    if filled < total:
        reason = f"Past traffic is being read: {filled} of {total} columns are filled."
        return Standing("INITIALIZING", reason, "Wait; a worker must be running.", filled / total)
    if behind:
        reason = f"{behind} of {len(partitions)} partitions have events from before that wait to be applied."
        return Standing(
            "INITIALIZING", reason, "Wait; a worker must be running.", 1 - behind / len(partitions)
        )
    return Standing("READY", "", "", 1.0)
