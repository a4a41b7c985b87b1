"""Beta: thorough. Checks every field, compares every pair, and reads its own draft before handing it in."""

import json
import os
import sys
from pathlib import Path

import post
import triage


def work(prompt, inputs):
    """The artifact's text, the metrics, and what was left out of it."""
    files = {path.name: path.read_text(encoding="utf-8") for path in inputs.rglob("*.*")}
    if "events.json" in files:
        return post.write(prompt, json.loads(files["events.json"]))
    if "server.log" in files:
        return triage.write(files["server.log"])
    text = (
        "# Answer\n\nThe request, word for word:\n\n"
        f"{prompt}\n\nNo data came with it, so there is nothing that could be checked or reported.\n"
    )
    return text, {"records": 0, "kept": 0, "problems": 0}, []


def main():
    prompt, output = sys.argv[1:3]
    text, metrics, left_out = work(prompt, Path(os.environ.get("FORGE_INPUTS", "inputs")))
    Path(output).write_text(text, encoding="utf-8")

    artifacts = Path(os.environ["FORGE_ARTIFACTS"])
    for name, content in (("metrics.json", metrics), ("left_out.json", left_out)):
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (artifacts / name).write_text(text, encoding="utf-8")
    print(f"beta: {metrics['records']} records read, {metrics['kept']} kept")
    print(f"beta: problems in my own draft: {metrics['problems']}")


if __name__ == "__main__":
    main()
