"""Collector: a retargeting tag, its collector, and an audience engine. This is the path of an event.

1.  A page pastes the base code (js/snippet), which queues calls until the tag (js/src) has come. The tag decides on
    consent before it touches storage or network; what must wait is held in the page's memory.
2.  The tag posts to `/v1/events`. A page without script asks for a pixel, a shop's back end posts with a key, a file
    is imported: four ways in, one path from here on (ingest/endpoints.py, ingest/fates.py).
3.  Decode (ingest/decode.py): limits come before parsing. What cannot be read is a 400, and nothing of it is kept.
4.  Admit (ingest/admit.py): the tag must be known (tags.py) and the page's origin allowed; a crawler goes no further
    (ingest/bots.py).
5.  Consent (consent/decision.py) is decided once more, from the raw signals. Its verdict is the only thing that can
    make a `ConsentedEvent`, and streams take nothing else. No consent: the event ends here, as a count.
6.  Normalise (ingest/normalise.py): names, numbers, times and URLs get their one form. Nothing after it changes a
    value, so that the live and the past form of a rule cannot disagree.
7.  Append (ingest/commit.py, stream/append.py): all events that wait go to Redis in one round trip. One script tests
    the event id, remembers it and appends. Redis answers after its fsync; only then does the page get its 2xx. While
    Redis is away a spool on the edge's own disk takes the events (ingest/spool.py), and they are brought over when it
    is back (ingest/drain.py). If that is full, or Redis is, the answer is 503, and the sender keeps the event.
8.  A worker that holds the lease of the visitor's partition (worker/leases.py) reads after the cursor and takes its
    steps (worker/partition.py): marks first, then visitors to ordinals, then rules to matches (audience/match.py).
    One script merges it all into columns and moves the cursor, if cursor and epoch are as the worker believed
    (audience/apply.lua). If not, nothing has happened, and it reads anew.
9.  Beside it the keeper (worker/keeper.py) writes the same events to Parquet (archive/parse.py, archive/write.py), puts
    the files in force by a script, and trims the stream below both cursors. It fills new leaves from these files
    (worker/backfill.py) and does the chores (worker/chores.py).
10. A marketer asks (query/engine.py). Now is answered from columns (audience/sizes.py), any past instant from the
    archive and the stream's tail behind it (archive/scan.py).

What is unpleasant, and known:

- A withdrawal and the events around it may arrive in any order. The mark's second decides, not the order: what
  happened in the very second of a withdrawal, or before, is gone.
- An event id is remembered for 48 to 96 hours of arrival, since two generations are cheaper than an expiry for each.
- A worker that takes a batch and dies has done all of it or nothing. What it wrote to the archive and did not put in
  force stays on disk as a file that nobody lists.
- A repeat that arrives while Redis is away is told «accepted»: only the drain of the spool finds that it is one. And
  an event that lay in a spool for longer than ids are remembered may come twice.
- The same event can be in the archive and not yet in the columns, or the other way round, for the moment between two
  commits: a size as of now and one as of this very second may differ for that moment.
"""
