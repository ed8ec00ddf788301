"""What `up` says can be pasted as it stands."""

import re
import shlex
from pathlib import Path

from collector.cli import up
from collector.settings import Settings
from collector.tags import Tag


def test_the_commands_of_the_greeting_name_folders_with_blanks_too() -> None:
    tag = Tag(id="2612345678901", name="my site", origins=("https://shop.example",), regime="opt_in", created_at=0)
    told = up._welcome(Settings(data_dir=Path("/home/anna/My data")), tag, "key", "link", None)
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^  [12]\. (.*)$", told, re.M)]
    assert [command[-2:] for command in commands] == [["--data-dir", "/home/anna/My data"]] * 2
