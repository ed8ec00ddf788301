"""The edge: from bytes on the wire to events on disk, and an answer that tells each event's fate.

1. `decode.py` reads the body within its limits, `pixel.py` a query string; both give the same request.
2. `admit.py` says whose it is: a known tag and an allowed origin, or a server key.
3. `fates.py` decides consent, drops automata (`bots.py`), finds the visitor (`visitor.py`), normalises each
   event (`normalise.py`, `urls.py`) and seals it. Pure: what it cannot take it refuses, one event at a time.
4. `commit.py` appends what waits, many requests in one round trip.
5. `answer.py` writes the answer. A 2xx means on disk.

A file is one more way in: `lines.py` reads events of the wire from it, `importing.py` has them judged by step 3 and
appends them.

`app.py` lists the routes over an `edge.py`; `endpoints.py` shows their steps, `operations.py` those for ops.
"""
