"""The process of one job: runs its commands, and writes progress, log and end into the table of jobs.

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
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
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

    def begin(self) -> None:
        """A command begins: what the one before counted is no more."""
        self._values |= {"done": 0, **dict.fromkeys(_COUNTED[1:])}

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
    note = _Note(table, job)
    runner = _Runner(table, job, note, lock)
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, runner.hand_on)
    found: dict[str, Any] = {}
    code = 0
    for words in job.steps:
        code, record = runner.run(words)
        found |= record
        if code not in (0, _REJECTED_SOME):
            break
    note.write()
    _end(table, job, note, code, found)
    return 0


class _Runner:
    """Runs the commands of a job, and hands on to the one at hand what the job is told."""

    def __init__(self, table: JobTable, job: Job, note: _Note, lock: int) -> None:
        self._table = table
        self._job = job
        self._note = note
        self._lock = lock
        self._child: subprocess.Popen[bytes] | None = None
        self._told: int | None = None  # a signal that came

    def hand_on(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        self._told = number
        if self._child is not None:
            self._child.send_signal(number)

    def run(self, words: Sequence[str]) -> tuple[int, dict[str, Any]]:
        """Run a command to its end: its exit code, and what it found."""
        module, *arguments = words
        self._note.begin()
        found: list[bytes] = []
        with subprocess.Popen(  # noqa: S603  (our own modules, no shell)
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(self._lock,),
        ) as child:
            self._child = child
            if self._told is not None:  # before there was a child to tell
                child.send_signal(self._told)
            elif self._table.get(self._job.id).cancelled:  # somebody asked before we could hear it
                child.terminate()
            assert child.stdout is not None and child.stderr is not None  # noqa: S101  (both are pipes)
            reader = threading.Thread(target=lambda pipe=child.stdout: found.append(pipe.read()))
            reader.start()
            _follow(child.stderr, self._note, self._table.log_file(self._job.id))
            code = child.wait()
            self._child = None
            reader.join()
        return code if code >= 0 else 128 - code, _last_record(b"".join(found))


def _follow(pipe: IO[bytes], note: _Note, log: Path) -> None:
    """Read the command's stderr to its end, a line at a time."""
    with log.open("ab") as file:
        for raw in pipe:
            line = printable(raw.rstrip(b"\n"))
            if file.tell() < LOG_BYTES:
                file.write(line.encode() + b"\n")
                file.flush()
            note.take(line)


def _end(table: JobTable, job: Job, note: _Note, code: int, found: dict[str, Any]) -> None:
    cancelled = table.get(job.id).cancelled
    state: State = "failed"
    values: dict[str, Any] = {"exit_code": code, "ended_at": now(), "seconds_left": None}
    if code in (0, _REJECTED_SOME):
        state = "done"
        values["result"] = json.dumps(found) if found else None
        values["message"] = None
    elif code in _STOPPED:
        state = "cancelled" if cancelled else "interrupted"
    if code != 0:
        values["message"] = note.last_words.removeprefix("lookalike: error: ")[:500] or f"It ended with code {code}."
    table.change(job.id, when=("running",), state=state, **values)


def _last_record(found: bytes) -> dict[str, Any]:
    """A command's result: its last line that is JSON."""
    for line in reversed(found.decode("utf-8", "replace").splitlines()):
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                return record
    return {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
