"""Consents: which events change what their visitor's last consent record said. Remembered in memory, not in Redis.

Redis would take 12 bytes a visitor for it. What a restart forgets is read again from the newest records; beyond that,
and beyond MOST visitors, an unchanged consent is recorded a second time, which tells nothing wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from collector import clock, keys
from collector.archive.proof import Consent, Proofs
from collector.event import StreamedEvent

MOST = 50_000  # visitors remembered for a tag in a partition, about 100 bytes each

Entry = tuple[int, int, StreamedEvent]  # the stream id's milliseconds and sequence, and what lies there


class Consents:
    """The last recorded consent of the visitors of a partition, as of the stream id `reached`."""

    def __init__(self, proofs: Proofs, partition: int) -> None:
        self._proofs = proofs
        self._partition = partition
        self._known: dict[str, dict[int, int]] = {}  # tag → visitor's mark → what the last record said
        self.reached = ""  # set by the caller, once the records of the entries up to there are for good

    def changes(
        self,
        tag: str,
        entries: Sequence[Entry],
        mark: Callable[[str], int],
        erased: Mapping[int, int],
    ) -> list[Consent]:
        """A record for each entry, in order, that changes its visitor's consent; taken as recorded from now on.

        erased: mark → second of the tombstone. Who comes back after an erasure consents anew.
        """
        if tag not in self._known:
            self._known[tag] = self._recorded(tag, erased)
        known = self._known[tag]
        found = []
        for ms, seq, event in entries:
            who = mark(event.visitor)
            said = hash((event.verdict, event.consent, event.signals, erased.get(who, 0)))
            if known.get(who) != said:
                known[who] = said
                found.append(
                    Consent(
                        record=f"{self._partition:02d}-{ms}-{seq}",
                        visitor=keys.visitor_name(who),
                        at=clock.iso(event.received_at / 1000),
                        verdict="withdrawal" if event.verdict == "none" else event.verdict,
                        method=event.consent,
                        signals=event.signals,
                        source=event.source,
                    )
                )
        if len(known) > MOST:
            for who in list(islice(known, MOST // 2)):
                del known[who]
        return found

    def forget_all(self) -> None:
        """Another worker has recorded meanwhile: what the newest records say counts."""
        self._known.clear()

    def _recorded(self, tag: str, erased: Mapping[int, int]) -> dict[int, int]:
        known: dict[int, int] = {}
        for record in self._proofs.latest(tag):
            who = int(record["visitor"], 16)
            verdict = "none" if record["verdict"] == "withdrawal" else record["verdict"]
            until = erased.get(who, 0)
            before = clock.parse_iso(record["at"]) < until
            known[who] = hash((verdict, record["method"], record["signals"], 0 if before else until))
        return known
