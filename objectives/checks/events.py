"""Grades a weekly post: which of the expected events it lists, and what should not be there.

Runs in a sandbox of its own, after the candidate's is gone: the post is at FORGE_OUTPUT, the expected
events are beside this file. Prints one JSON object, {"score": 0..100, "explanation": "…"}. It exits
with an error only when it is itself at fault, and then it says nothing about the candidate.
"""

import json
import os
import re
from pathlib import Path

EXPECTED = Path(__file__).with_name("expected.json")


def entries(post):
    """The post's entries: the bold title of each, and the text down to the next one."""
    parts = re.split(r"(?m)^\*\*(.+?)\*\*[ \t]*$", post)
    return list(zip(parts[1::2], parts[2::2]))


def plain(title):
    """A title without case, blanks and punctuation."""
    return "".join(c for c in title.casefold() if c.isalnum())


def page(link):
    """A link without its query, its fragment and a slash at its end."""
    return re.split(r"[?#]", link)[0].rstrip("/")


def matches(event, title, body):
    links = {page(link) for link in re.findall(r"https?://\S+", body)}
    if links:
        return bool(links & set(event["links"]))
    return plain(title) in map(plain, event["titles"])


def is_flawed(event, title, body):
    """Whether the event is listed, but with another title, time or a link missing."""
    return (
        plain(title) not in map(plain, event["titles"])
        or event["when"] not in body
        or "https://" not in body
    )


def count(number, singular, plural):
    return f"{number} {singular if number == 1 else plural}"


def main():
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    path = Path(os.environ.get("FORGE_OUTPUT", "discord_post.md"))
    post = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    listed, flawed, duplicates, unwanted, times = set(), 0, 0, 0, []
    for title, body in entries(post):
        found = next((i for i, e in enumerate(expected) if matches(e, title, body)), None)
        if found is None:
            unwanted += 1
        elif found in listed:
            duplicates += 1
        else:
            listed.add(found)
            times.append(expected[found]["when"])
            flawed += is_flawed(expected[found], title, body)

    # Half an event for one with a flaw; what should not be there makes the whole worth less.
    score = 100 * (len(listed) - flawed / 2) / (len(expected) + duplicates + unwanted)
    explanation = [f"{len(listed)} of {len(expected)} events listed"]
    if flawed:
        explanation.append(f"{flawed} with a wrong title or time")
    if duplicates:
        explanation.append(count(duplicates, "duplicate", "duplicates"))
    if unwanted:
        explanation.append(f"{unwanted} that should not be there")
    if times != sorted(times):
        score *= 0.9
        explanation.append("not in order of time")
    print(json.dumps({"score": round(score, 1), "explanation": ", ".join(explanation)}))


if __name__ == "__main__":
    main()
