"""Careful: reads each commit by the rules, scopes and breaking changes included."""

import os
import pathlib
import re
import sys

COMMIT = re.compile(r"(?P<kind>\w+)(?:\((?P<scope>[^)]*)\))?(?P<breaking>!)?: (?P<text>.+)")
TITLES = {"breaking": "Breaking", "feat": "Added", "fix": "Fixed"}


def notes(commits):
    found = {kind: [] for kind in TITLES}
    for line in commits.splitlines():
        commit = COMMIT.fullmatch(line)
        if not commit:
            continue
        kind = "breaking" if commit["breaking"] else commit["kind"]
        if kind in found:
            scope = f"{commit['scope']}: " if commit["scope"] else ""
            found[kind].append(f"- {scope}{commit['text']}")
    parts = ["# Release notes"]
    for kind, lines in found.items():
        if lines:
            parts += [f"## {TITLES[kind]}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


prompt, output = sys.argv[1:3]
commits = pathlib.Path(os.environ["FORGE_INPUTS"], "commits.txt")
pathlib.Path(output).write_text(notes(commits.read_text(encoding="utf-8")), encoding="utf-8")
