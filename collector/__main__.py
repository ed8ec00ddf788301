"""`python -m collector`: the same commands as `collector`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 — said before anything that an older Python cannot read
    print("collector needs Python ≥ 3.11. Mend: run it with python3.11 or newer.", file=sys.stderr)  # noqa: T201
    sys.exit(2)

from collector.cli import main

main()
