"""The weekly post: every event is checked field by field and compared with every other."""

import html
import json
import re
from datetime import datetime, timedelta, timezone
from difflib import SequenceMatcher
from itertools import combinations
from urllib.parse import urlsplit

SAN_FRANCISCO = timezone(timedelta(hours=-7))
LIMIT = 2000


class Unfit(Exception):
    """An entry that is not fit to print; the text says why."""


def field(entry, name):
    value = entry.get(name)
    if not isinstance(value, str):
        raise Unfit(f"{name} is missing" if value is None else f"{name} is not text")
    if not value.strip():
        raise Unfit(f"{name} is blank")
    return " ".join(value.split())


def title_of(entry):
    text = re.sub(r"<[^>]*>", "", html.unescape(field(entry, "title")))
    return re.sub(r"@(everyone|here)\b", r"\1", text).replace("*", "")


def time_of(entry):
    text = field(entry, "start")
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise Unfit(f"start {text} is not a time") from error
    return moment.astimezone(SAN_FRANCISCO).replace(tzinfo=None) if moment.tzinfo else moment


def link_of(entry):
    text = field(entry, "url")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or "." not in (parts.hostname or ""):
        raise Unfit("its link does not work")
    return text


def event_of(entry, first, last):
    if not isinstance(entry, dict):
        raise Unfit("not an event")
    event = {"title": title_of(entry), "time": time_of(entry), "link": link_of(entry)}
    event["venue"] = field(entry, "venue")
    if field(entry, "city").split(",")[0].casefold() != "san francisco":
        raise Unfit(f"in {entry['city']}")
    if not first <= f"{event['time']:%Y-%m-%d}" <= last:
        raise Unfit("not in this week")
    return event


def likeness(entries):
    """How alike the records are, from 0 to 1, for every pair, as text and whatever their types."""
    texts = [json.dumps(entry, ensure_ascii=False).casefold() for entry in entries]
    return {
        (a, b): SequenceMatcher(None, texts[a], texts[b], autojunk=False).ratio()
        for a, b in combinations(range(len(texts)), 2)
    }


def same(one, other, alike):
    """Two records are one event when they have a page, or time, place and most of their text in common."""
    pages = [re.split(r"[?#]", event["link"])[0].rstrip("/") for event in (one, other)]
    place = one["time"] == other["time"] and one["venue"] == other["venue"]
    return pages[0] == pages[1] or (place and alike > 0.7)


def problems(draft):
    """What is wrong with a draft, read as Discord would read it."""
    titles = re.findall(r"(?m)^\*\*(.+)\*\*$", draft)
    times = re.findall(r"(?m)^(\d{4}-\d\d-\d\d \d\d:\d\d), ", draft)
    found = []
    if len(draft) > LIMIT:
        found.append(f"{len(draft)} characters, {LIMIT} are allowed")
    if times != sorted(times) or len(times) != len(titles):
        found.append("not in order of time")
    if len({title.casefold() for title in titles}) < len(titles):
        found.append("a title twice")
    return found


def write(prompt, entries):
    first, last = re.findall(r"\d{4}-\d\d-\d\d", prompt)[:2]
    alike, kept, left_out = likeness(entries), {}, []
    for index, entry in enumerate(entries):
        try:
            event = event_of(entry, first, last)
            twin = next((i for i in kept if same(kept[i], event, alike[i, index])), None)
            if twin is not None:
                raise Unfit(f"the same as entry {twin + 1}")
            kept[index] = event
        except Unfit as why:
            left_out.append({"entry": index + 1, "why": str(why)})

    lines = ["# AI Events in San Francisco", f"{first} to {last}"]
    for event in sorted(kept.values(), key=lambda event: (event["time"], event["title"])):
        lines += ["", f"**{event['title']}**"]
        lines += [f"{event['time']:%Y-%m-%d %H:%M}, {event['venue']}", event["link"]]
    lines += ["", f"{len(left_out)} of {len(entries)} entries were left out:"]
    lines += [f"- entry {item['entry']}: {item['why']}" for item in left_out]
    draft = "\n".join(lines) + "\n"
    metrics = {"records": len(entries), "kept": len(kept), "problems": len(problems(draft))}
    return draft, metrics, left_out
