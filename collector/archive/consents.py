"""Consents: which events change what their visitor's last consent record said. Remembered in memory, not in Redis.

Redis would take 12 bytes a visitor for it. What a restart forgets is read again from the newest records; beyond that,
and beyond MOST visitors, an unchanged consent is recorded a second time, which tells nothing wrong.
"""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
import pyarrow as pa

from collector import clock, keys
from collector.archive.proof import Consent, Proofs

MOST = 50_000  # visitors remembered for a tag in a partition, about 100 bytes each
SAID = ["verdict", "consent", "signals"]
COLUMNS = ["sid_ms", "sid_seq", "mark", "received_at", "source", *SAID]


class Consents:
    """The last recorded consent of the visitors of a partition, as of the stream id `reached`."""

    def __init__(self, proofs: Proofs, partition: int) -> None:
        self._proofs = proofs
        self._partition = partition
        self._known: dict[str, dict[int, int]] = {}  # tag → visitor's mark → what the last record said
        self.reached = ""  # set by the caller, once the records of the entries up to there are for good

    def changes(self, tag: str, table: pa.Table, erased: Mapping[int, int]) -> list[Consent]:
        """A record for each archive row, in order, that changes its visitor's consent; taken as recorded from now on.

        erased: mark → second of the tombstone. Who comes back after an erasure consents anew.
        """
        if tag not in self._known:
            self._known[tag] = self._recorded(tag, erased)
        known = self._known[tag]
        places = []
        for place, who, words in _turns(table):
            said = hash((*words, erased.get(who, 0)))
            if known.get(who) != said:
                known[who] = said
                places.append(place)
        found = [
            Consent(
                record=f"{self._partition:02d}-{row['sid_ms']}-{row['sid_seq']}",
                visitor=keys.visitor_name(row["mark"]),
                at=clock.iso(row["received_at"] / 1000),
                verdict="withdrawal" if row["verdict"] == "none" else row["verdict"],
                method=row["consent"] or "",
                signals=row["signals"] or "",
                source=row["source"],
            )
            for row in table.select(COLUMNS).take(pa.array(places, pa.int64())).to_pylist()
        ]
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


def _turns(table: pa.Table) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(place, mark, what was said) of the rows, in order, that say something else than the visitor's row before."""
    said = np.zeros(table.num_rows, np.int64)
    for name in SAID:
        words = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
        said = said * len(words.dictionary) + words.indices.to_numpy()
    marks = table["mark"].to_numpy()
    order = np.argsort(marks, kind="stable")
    turns = np.ones(len(order), np.bool_)
    turns[1:] = (np.diff(marks[order]) != 0) | (np.diff(said[order]) != 0)
    places = np.sort(order[turns])
    _, examples, which = np.unique(said[places], return_index=True, return_inverse=True)
    phrases = [
        tuple(word or "" for word in row.values())
        for row in table.select(SAID).take(places[examples]).to_pylist()
    ]
    for place, mark, one in zip(places.tolist(), marks[places].tolist(), which.tolist(), strict=True):
        yield place, mark, phrases[one]
