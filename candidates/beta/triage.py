"""The log report: whole records with their stack traces, repeats counted, every signature doubted once."""

import json
import re
from collections import Counter
from difflib import SequenceMatcher
from itertools import combinations

RECORD = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) ([A-Z]+) +\[(\w+)\] (.*)")
REPEATED = re.compile(r"last message repeated (\d+) times$")


def records_of(log):
    """The records, each with the lines that follow it; and the lines that belong to none."""
    records, stray = [], []
    for number, line in enumerate(log.splitlines(), 1):
        match = RECORD.match(line)
        if match:
            time, level, component, message = match.groups()
            records.append({"time": time, "level": level, "component": component, "lines": [message]})
        elif records:
            records[-1]["lines"].append(line)
        else:
            stray.append({"line": number, "why": "before the first record"})
    return records, stray


def signature(message):
    return re.sub(r"\b\d+\b", "<n>", re.sub(r"\b[0-9a-f]{8}\b", "<id>", message))


def errors_of(records):
    """The errors by signature, and the records that they come from."""
    errors, sources, before = {}, [], None
    for record in records:
        repeated = REPEATED.match(record["lines"][0])
        if repeated and before:
            before["count"] += int(repeated[1])
        before = None
        if record["level"] not in ("ERROR", "FATAL"):
            continue
        sources.append(record)
        key = signature(record["lines"][0])
        before = errors.setdefault(key, {
            "signature": key, "component": record["component"], "level": record["level"],
            "count": 0, "first": record["time"], "last": record["time"],
        })
        before["count"] += 1
        before["last"] = record["time"]
    return errors, sources


def doubts(sources):
    """Pairs of records that look like one error but have two signatures, or the other way round."""
    found = 0
    texts = [(signature(record["lines"][0]), "\n".join(record["lines"])) for record in sources]
    for (one, text), (other, other_text) in combinations(texts, 2):
        alike = SequenceMatcher(None, text, other_text, autojunk=False).ratio()
        found += (one == other) != (alike > 0.5)
    return found


def write(log):
    records, stray = records_of(log)
    errors, sources = errors_of(records)
    ranked = sorted(errors.values(), key=lambda error: (-error["count"], error["signature"]))
    for error in ranked:
        traces = [r for r in sources if signature(r["lines"][0]) == error["signature"]]
        error["with_stack_trace"] = sum(len(record["lines"]) > 1 for record in traces)
    report = {
        "records": len(records),
        "levels": dict(sorted(Counter(record["level"] for record in records).items())),
        "errors": ranked,
    }
    metrics = {"records": len(records), "kept": len(ranked), "problems": doubts(sources)}
    return json.dumps(report, indent=2) + "\n", metrics, stray
