"""Drives a Daytona server through the official SDK, unmodified. The server is named by the SDK's own variables."""

import asyncio
import uuid

from daytona import (
    CreateSandboxFromSnapshotParams,
    Daytona,
    DaytonaError,
    ListSandboxesQuery,
    SessionExecuteRequest,
)


def check(fact: bool, what: str) -> None:
    if not fact:
        raise AssertionError(what)
    print(f"ok: {what}")


daytona = Daytona()
run = uuid.uuid4().hex
sandbox = daytona.create(
    CreateSandboxFromSnapshotParams(
        name=f"sdk-{run}", labels={"run": run}, env_vars={"GREETING": "hello"}, auto_stop_interval=5
    )
)
check(sandbox.state == "started", "create waits until the sandbox has started")

answer = sandbox.process.exec('echo "$GREETING $WHO"; echo oops >&2; exit 7', env={"WHO": "world"}, timeout=20)
check(answer.exit_code == 7, "exec gives the exit code")
check("hello world" in answer.result and "oops" in answer.result, "exec merges both streams")
check(sandbox.process.exec("pwd", cwd="/nowhere").exit_code == -1, "exec in a missing folder gives -1")

content = bytes(range(256)) * 300
sandbox.fs.upload_file(content, "/home/daytona/deep/data.bin")
check(sandbox.fs.download_file("/home/daytona/deep/data.bin") == content, "download gives what upload took")
check(sandbox.process.exec("wc -c < deep/data.bin").result.strip() == "76800", "commands see uploaded files")
names = [file.name for file in sandbox.fs.list_files("deep")]
check(names == ["data.bin"], "files are listed")
try:
    sandbox.fs.download_file("missing.txt")
    check(False, "download of a missing file fails")
except DaytonaError as error:
    check("missing.txt" in str(error), "download of a missing file fails and names it")

listed = [item.id for item in daytona.list(ListSandboxesQuery(labels={"run": run}))]
check(listed == [sandbox.id], "list finds the sandbox by its label")
check(daytona.get(f"sdk-{run}").id == sandbox.id, "get finds the sandbox by its name")
check(sandbox.get_user_home_dir() == "/home/daytona", "the home directory is told")

process = sandbox.process
process.create_session("work")
done = process.execute_session_command("work", SessionExecuteRequest(command="cd deep && echo out && echo err >&2"))
check(done.exit_code == 0, "a synchronous session command gives its exit code")
started = process.execute_session_command(
    "work", SessionExecuteRequest(command="pwd; (exit 3)", run_async=True)
)
lines: list[str] = []
asyncio.run(process.get_session_command_logs_async("work", started.cmd_id, lines.append, lines.append))
check("".join(lines).strip().endswith("/deep"), "followed logs come, and the session keeps its folder")
check(process.get_session_command("work", started.cmd_id).exit_code == 3, "a session command gives its exit code")
logs = process.get_session_command_logs("work", done.cmd_id)
check((logs.stdout, logs.stderr) == ("out\n", "err\n"), "logs of a session command keep the streams apart")
process.delete_session("work")

daytona.delete(sandbox, wait=True)
try:
    daytona.get(sandbox.id)
    check(False, "a deleted sandbox is gone")
except DaytonaError:
    check(True, "a deleted sandbox is gone")
