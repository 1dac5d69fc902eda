"""The process of one job: runs its command, and writes progress, log and end into the table of jobs.

`python -m search_server.job_runner HOME ID LOCK`, where LOCK is the descriptor of the job's lock, which the command's
process holds too: for as long as one of them lives, the job does.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from search_server.jobs import Job, JobTable, State, now
from train.errors import PROBLEMS
from train.printable import printable

NICENESS = 5  # questions go before jobs
SECONDS_BETWEEN_NOTES = 0.5
LOG_BYTES = 4 << 20  # of one log; what comes after is not kept
MOST_WARNINGS = 20
_REJECTED_SOME = PROBLEMS["too_many_rejected"].exit_code
_STOPPED = (130, 143)
_COUNTED = ("done", "total", "unit", "rate", "seconds_left")  # as events and columns call it


class _Note:
    """What is known of the job so far; written into the table now and then."""

    def __init__(self, table: JobTable, job: Job) -> None:
        self._table = table
        self._job = job
        self._written = 0.0
        self._values: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.last_words = ""

    def take(self, line: str) -> None:
        """Take one line of the command's stderr."""
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, KeyError, TypeError):
            self.last_words = line
            if len(self.warnings) < MOST_WARNINGS:
                self.warnings.append(line[:500])
                self._values["warnings"] = json.dumps(self.warnings)
        else:
            if kind == "message":
                self._values["message"] = printable(str(event.get("text")))[:500]
            else:
                self._values |= {name: event.get(name) for name in _COUNTED}
        if time.monotonic() - self._written > SECONDS_BETWEEN_NOTES:
            self.write()

    def write(self) -> None:
        """Write what is new."""
        if self._values:
            self._table.change(self._job.id, when=("running",), **self._values)
            self._values = {}
        self._written = time.monotonic()


def main(arguments: list[str]) -> int:
    """Run a job to its end."""
    home, number, lock = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    table = JobTable(home)
    job = table.get(number)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    module, *words = job.words
    command = [sys.executable, "-m", module, *words]
    child = subprocess.Popen(  # noqa: S603  (our own modules, no shell)
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(lock,)
    )
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda asked, _frame: child.send_signal(asked))
    if table.get(number).cancelled:  # somebody asked before we could hear it
        child.terminate()
    note = _Note(table, job)
    found: list[bytes] = []
    assert child.stdout is not None and child.stderr is not None  # noqa: S101  (both are pipes)
    reader = threading.Thread(target=lambda pipe=child.stdout: found.append(pipe.read()))
    reader.start()
    _follow(child.stderr, note, table.log_file(number))
    code = child.wait()
    reader.join()
    note.write()
    _end(table, job, note, code if code >= 0 else 128 - code, b"".join(found))
    return 0


def _follow(pipe: IO[bytes], note: _Note, log: Path) -> None:
    """Read the command's stderr to its end, a line at a time."""
    with log.open("ab") as file:
        for raw in pipe:
            line = printable(raw.rstrip(b"\n"))
            if file.tell() < LOG_BYTES:
                file.write(line.encode() + b"\n")
                file.flush()
            note.take(line)


def _end(table: JobTable, job: Job, note: _Note, code: int, found: bytes) -> None:
    cancelled = table.get(job.id).cancelled
    state: State = "failed"
    values: dict[str, Any] = {"exit_code": code, "ended_at": now(), "seconds_left": None}
    if code in (0, _REJECTED_SOME):
        state = "done"
        values["result"] = _last_record(found)
        values["message"] = None
    elif code in _STOPPED:
        state = "cancelled" if cancelled else "interrupted"
    if code != 0:
        values["message"] = note.last_words.removeprefix("lookalike: error: ")[:500] or f"It ended with code {code}."
    table.change(job.id, when=("running",), state=state, **values)


def _last_record(found: bytes) -> str | None:
    """The command's result: its last line, where that is JSON."""
    for line in reversed(found.decode("utf-8", "replace").splitlines()):
        with contextlib.suppress(ValueError):
            if isinstance(json.loads(line), dict):
                return line
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
