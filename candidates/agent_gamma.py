#!/usr/bin/env python3
"""Gamma: balanced. One pass over the input, the rules that matter, no second look."""

import html
import json
import os
import re
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

SAN_FRANCISCO = timezone(timedelta(hours=-7))
RECORD = re.compile(r"(\d{4}-\d\d-\d\dT[\d:]{8}Z) (\w+) +\[(\w+)\] (.*)")


def clean(title):
    text = re.sub(r"<[^>]*>", "", html.unescape(title))
    return " ".join(text.replace("@", "").split())


def local_time(start):
    moment = datetime.fromisoformat(start.replace("Z", "+00:00"))
    return moment.astimezone(SAN_FRANCISCO).replace(tzinfo=None) if moment.tzinfo else moment


def event_of(entry):
    """The event as (time, title, venue, link); ValueError when it is not fit to print."""
    fields = ("title", "start", "city", "venue", "url")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(f), str) for f in fields):
        raise ValueError("a field is missing or has the wrong type")
    if entry["city"].split(",")[0].strip().casefold() != "san francisco":
        raise ValueError("another city")
    if not re.match(r"https?://[\w.-]+\.\w+(/\S*)?$", entry["url"]):
        raise ValueError("not a web link")
    return local_time(entry["start"]), clean(entry["title"]), entry["venue"], entry["url"]


def write_post(prompt, entries):
    first, last = re.findall(r"\d{4}-\d\d-\d\d", prompt)[:2]
    events = {}
    for entry in entries:
        try:
            event = event_of(entry)
        except ValueError:
            continue
        if first <= event[0].strftime("%Y-%m-%d") <= last:
            # The same page is the same event, whatever its title and its tracking parameters.
            events.setdefault(event[3].split("?")[0].rstrip("/"), event)
    lines = ["# AI Events in San Francisco", f"{first} to {last}"]
    for time, title, venue, link in sorted(events.values()):
        lines += ["", f"**{title}**", f"{time:%Y-%m-%d %H:%M}, {venue}", link]
    return "\n".join(lines) + "\n", {"records": len(entries), "kept": len(events)}


def write_report(log):
    levels, errors, records = Counter(), {}, 0
    for line in log.splitlines():
        match = RECORD.match(line)
        if not match:
            continue
        time, level, component, message = match.groups()
        records += 1
        levels[level] += 1
        if level not in ("ERROR", "FATAL"):
            continue
        message = re.sub(r"\b[0-9a-f]{8}\b", "<id>", message)
        message = re.sub(r"\b\d+\b", "<n>", message)
        error = errors.setdefault(message, {
            "signature": message, "component": component, "level": level,
            "count": 0, "first": time, "last": time,
        })
        error["count"] += 1
        error["last"] = time
    ranked = sorted(errors.values(), key=lambda error: (-error["count"], error["signature"]))
    report = {"records": records, "levels": dict(sorted(levels.items())), "errors": ranked}
    return json.dumps(report, indent=2) + "\n", {"records": records, "kept": len(ranked)}


def main():
    prompt, output = sys.argv[1:3]
    inputs = {path.name: path for path in Path(os.environ.get("FORGE_INPUTS", "inputs")).rglob("*.*")}
    if "events.json" in inputs:
        entries = json.loads(inputs["events.json"].read_text(encoding="utf-8"))
        text, metrics = write_post(prompt, entries)
    elif "server.log" in inputs:
        text, metrics = write_report(inputs["server.log"].read_text(encoding="utf-8"))
    else:
        text, metrics = f"# Answer\n\nNothing to work from came with this:\n\n{prompt}\n", {"records": 0}
    Path(output).write_text(text, encoding="utf-8")
    Path(os.environ["FORGE_ARTIFACTS"], "metrics.json").write_text(json.dumps(metrics) + "\n")
    print(f"gamma: {metrics['records']} records read, {metrics.get('kept', 0)} kept")


if __name__ == "__main__":
    main()
