"""Runs `collector …` with one thing broken in it: `python -m tests.faults.saboteur FAULT FILE worker`.

clock    the process's clock is off by as many seconds as FILE says, at any moment
rename   the process stops itself (SIGSTOP) before it first renames an archive file, and leaves FILE
merge    the process kills itself (SIGKILL) in its first merge of files, before its commit, and leaves FILE
poison   matching an event whose url holds FILE raises
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

FAULT, FILE = sys.argv[1], Path(sys.argv[2])


def clock() -> None:
    right = time.time
    time.time = lambda: right() + float(FILE.read_text() or 0)


def rename() -> None:
    whole = Path.replace

    def broken(self: Path, target: Any) -> Path:
        if self.suffix == ".partial" and not FILE.exists():
            FILE.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return whole(self, target)

    Path.replace = broken  # type: ignore[assignment, method-assign]


def merge() -> None:
    from collector.archive.manifest import Manifest
    from collector.worker import chores

    broken_table: Any = tuple(
        chore._replace(every=lambda _: 0.5) if chore.name == "merge_files" else chore
        for chore in chores.TABLE
    )
    chores.TABLE = broken_table
    whole = Manifest.replace

    def broken(self: Manifest, *args: Any) -> bool:
        if not FILE.exists():
            FILE.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, *args)

    Manifest.replace = broken  # type: ignore[assignment, method-assign]


def poison() -> None:
    from collector.audience.match import Matcher

    whole = Matcher.match

    def broken(self: Matcher, event: Any) -> Any:
        if FILE.name in event.url:
            raise ZeroDivisionError
        return whole(self, event)

    Matcher.match = broken  # type: ignore[method-assign]


if __name__ == "__main__":
    globals()[FAULT]()
    sys.argv[1:] = sys.argv[3:]
    from collector.cli import main

    main()
