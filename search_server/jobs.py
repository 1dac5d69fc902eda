"""Long work asked for over the API: a table of jobs in the workspace, and a queue that lets one run after the other.

jobs/jobs.db      a row for each job; the process that does the job writes its progress here, the server only reads it
jobs/<id>.log     what the job said
jobs/<id>.lock    held for as long as a process of the job lives: the kernel frees it however that ends

A job is a command of Lookalike, or several one after the other, in a process of its own (search_server/job_runner.py):
it outlives the server, and a server that is started again finds it. Every such command goes on where it was when it is
run again, and has nothing to do where it was done: that is `resume`.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from index_data.gallery import database_errors
from train.errors import UserError
from train.files import disk_errors

Kind = Literal["add", "scan", "build", "train", "export", "model", "duplicates", "outliers", "map"]
State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
STATES: tuple[State, ...] = get_args(State)
ENDED: frozenset[State] = frozenset({"done", "failed", "cancelled", "interrupted"})
RESUMABLE: frozenset[State] = frozenset({"failed", "cancelled", "interrupted"})

AT_ONCE = 1  # jobs that run; each takes all cores that it can get
LOOK_SECONDS = 0.5  # between two looks at what runs
KEY_HOURS = 24  # that an idempotency key is remembered
LOG_TAIL = 40  # lines
_TAIL_BYTES = 16_384

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    gallery TEXT,  -- name that it is served under
    words TEXT NOT NULL,  -- JSON: module and arguments; a list of such where it has several steps
    state TEXT NOT NULL,
    created_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER,
    unit TEXT,
    rate REAL,
    seconds_left REAL,
    message TEXT,
    warnings TEXT NOT NULL DEFAULT '[]',  -- JSON
    exit_code INTEGER,
    result TEXT,  -- JSON: what the command found
    pid INTEGER,
    cancelled INTEGER NOT NULL DEFAULT 0,  -- 1: somebody asked for its end
    version INTEGER NOT NULL DEFAULT 1,  -- grows with every change
    idempotency_key TEXT,
    request_digest TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_key ON jobs (idempotency_key);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
"""
_COLUMNS = (
    "id, kind, gallery, words, state, created_at, started_at, ended_at, done, total, unit, rate, seconds_left, "
    "message, warnings, exit_code, result, pid, cancelled, version"
)


class NoSuchJobError(UserError):
    """An id that no job has."""

    code = "no_such_job"


class JobStateError(UserError):
    """The job is not in a state for what is asked."""

    code = "job_state"


class KeyReusedError(UserError):
    """An idempotency key came with another request."""

    code = "key_reused"


@dataclass(frozen=True)
class Job:
    """One job as the table has it."""

    id: int
    kind: Kind
    gallery: str | None
    steps: tuple[tuple[str, ...], ...]  # module and arguments of each command
    state: State
    created_at: str
    started_at: str | None
    ended_at: str | None
    done: int
    total: int | None
    unit: str | None
    rate: float | None  # units a second
    seconds_left: float | None
    message: str | None
    warnings: tuple[str, ...]
    exit_code: int | None
    result: dict[str, Any] | None
    pid: int | None
    cancelled: bool
    version: int


class JobTable:
    """The table, as the server and the processes of the jobs use it."""

    def __init__(self, home: Path) -> None:
        """Make nothing yet.

        Args:
            home: The workspace.
        """
        self.folder = home.resolve() / "jobs"
        self.database = self.folder / "jobs.db"

    @property
    def exists(self) -> bool:
        """Whether there ever was a job."""
        return self.database.is_file()

    def add(
        self,
        kind: Kind,
        words: Sequence[str],
        gallery: str | None,
        key: str | None = None,
        *,
        then: Sequence[Sequence[str]] = (),
    ) -> tuple[Job, bool]:
        """Put a job into the queue.

        Args:
            kind: What it does.
            words: Module and arguments of its command.
            gallery: That it is about.
            key: Of the request, where it may come twice.
            then: Further commands, each run when the one before has done its work.

        Returns:
            The job, and whether it is new: with a key that came before, it is the job of then.

        Raises:
            KeyReusedError: The key came with another request.
        """
        stored = [list(words), *map(list, then)] if then else list(words)
        digest = hashlib.sha256(json.dumps([kind, gallery, *stored]).encode()).hexdigest()
        with self._transaction() as connection:
            if key is not None:
                since = _text(datetime.now(UTC) - timedelta(hours=KEY_HOURS))
                row = connection.execute(
                    "SELECT id, request_digest FROM jobs WHERE idempotency_key = ? AND created_at > ?", (key, since)
                ).fetchone()
                if row is not None and row[1] != digest:
                    raise KeyReusedError(f"the idempotency key {key[:50]!r} came with another request: use a new one.")
                if row is not None:
                    return _find(connection, row[0]), False
            cursor = connection.execute(
                "INSERT INTO jobs (kind, gallery, words, state, created_at, idempotency_key, request_digest) "
                "VALUES (?, ?, ?, 'queued', ?, ?, ?)",
                (kind, gallery, json.dumps(stored), now(), key, digest),
            )
            return _find(connection, cursor.lastrowid or 0), True

    def get(self, job_id: int) -> Job:
        """A job.

        Raises:
            NoSuchJobError: There is none of this id.
        """
        if not self.exists:
            raise NoSuchJobError(f"there is no job {job_id}.")
        with self._connection() as connection:
            return _find(connection, job_id)

    def newest(self, *, state: State | None = None, before: int | None = None, limit: int = 100) -> list[Job]:
        """Jobs, the newest first."""
        if not self.exists:
            return []
        with self._connection() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE (:state IS NULL OR state = :state) "  # noqa: S608
                "AND (:before IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit",
                {"state": state, "before": before, "limit": limit},
            ).fetchall()
        return [_job(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        counts: dict[str, int] = dict.fromkeys(STATES, 0)
        if self.exists:
            with self._connection() as connection:
                counts |= dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        return counts

    def change(self, job_id: int, *, when: Sequence[State] = STATES, **values: Any) -> bool:
        """Set columns of a job, where it is in one of these states; return whether it was."""
        columns = ", ".join(f"{name} = ?" for name in values)
        marks = ", ".join("?" * len(when))
        with self._transaction() as connection:
            cursor = connection.execute(
                f"UPDATE jobs SET {columns}, version = version + 1 WHERE id = ? AND state IN ({marks})",  # noqa: S608
                (*values.values(), job_id, *when),
            )
            return cursor.rowcount == 1

    def lock_file(self, job_id: int) -> Path:
        """What is held while a process of the job lives."""
        return self.folder / f"{job_id}.lock"

    def log_file(self, job_id: int) -> Path:
        """What the job said."""
        return self.folder / f"{job_id}.log"

    def log_tail(self, job_id: int) -> list[str]:
        """The last lines of what the job said."""
        try:
            with self.log_file(job_id).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        return text.splitlines()[-LOG_TAIL:]

    def is_alive(self, job_id: int) -> bool:
        """Whether a process of the job lives."""
        with contextlib.suppress(FileNotFoundError), self.lock_file(job_id).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with database_errors(self.database), contextlib.closing(self._open()) as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.database, timeout=10, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
        return connection


class JobQueue:
    """Lets jobs run one after the other, and sees when one is no more."""

    def __init__(self, home: Path) -> None:
        """Start nothing yet.

        Args:
            home: The workspace.
        """
        self.table = JobTable(home)
        self._home = home.resolve()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def look_after(self) -> None:
        """See how the jobs are that an earlier server left, and let those in the queue run."""
        if self.table.exists:
            self._look()
            self._watch()

    def submit(
        self,
        kind: Kind,
        words: Sequence[str],
        gallery: str | None,
        key: str | None = None,
        *,
        then: Sequence[Sequence[str]] = (),
    ) -> Job:
        """Let a command, and those `then`, run as soon as it is its turn; raises like `JobTable.add`."""
        job, _ = self.table.add(kind, words, gallery, key, then=then)
        self._look()
        self._watch()
        return self.table.get(job.id)

    def cancel(self, job_id: int) -> Job:
        """Ask a job to end; what it has done is kept.

        Raises:
            NoSuchJobError: There is none of this id.
            JobStateError: It has ended.
        """
        job = self.table.get(job_id)
        if self.table.change(job_id, when=("queued",), state="cancelled", cancelled=1, ended_at=now()):
            return self.table.get(job_id)
        if not self.table.change(job_id, when=("running",), cancelled=1):
            raise JobStateError(f"job {job_id} is {job.state}: only one that waits or runs can be cancelled.")
        job = self.table.get(job_id)
        if job.pid is not None and self.table.is_alive(job_id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.pid, 15)
        return self.table.get(job_id)

    def resume(self, job_id: int) -> Job:
        """Let a job that ended before its work was done go on.

        Raises:
            NoSuchJobError: There is none of this id.
            JobStateError: It has not ended, or its work is done.
        """
        job = self.table.get(job_id)
        clean = {"ended_at": None, "exit_code": None, "cancelled": 0, "message": None, "result": None, "pid": None}
        if not self.table.change(job_id, when=tuple(RESUMABLE), state="queued", **clean):
            raise JobStateError(f"job {job_id} is {job.state}: only one that failed or was stopped can be resumed.")
        self._look()
        self._watch()
        return self.table.get(job_id)

    def close(self) -> None:
        """Look after nothing any more; what runs goes on, and the next server finds it."""
        self._closed.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._keep_looking, name="jobs", daemon=True)
                self._thread.start()
        self._wake.set()

    def _keep_looking(self) -> None:
        while not self._closed.is_set():
            active = self._look()
            self._wake.wait(LOOK_SECONDS if active else None)
            self._wake.clear()
            if active and not self._closed.is_set():
                self._closed.wait(LOOK_SECONDS)

    def _look(self) -> bool:
        """Note who is no more and start whose turn it is; return whether anything waits or runs."""
        with self._starting:
            running = self.table.newest(state="running")
            for job in running:
                if not self.table.is_alive(job.id):
                    self.table.change(
                        job.id,
                        when=("running",),
                        state="cancelled" if job.cancelled else "interrupted",
                        ended_at=now(),
                        message="It was killed. What it had done is kept: resume it.",
                    )
            running = self.table.newest(state="running")
            waiting = self.table.newest(state="queued", limit=1000)[::-1]
            for job in waiting[: max(0, AT_ONCE - len(running))]:
                self._start(job)
            return bool(running or waiting)

    def _start(self, job: Job) -> None:
        """Start a job's process; the lock goes from our hands into its own without being free in between."""
        with self.table.lock_file(job.id).open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another server was quicker
            if not self.table.change(job.id, when=("queued",), state="running", started_at=now(), pid=None):
                return
            words = [sys.executable, "-m", "search_server.job_runner", str(self._home), str(job.id), str(lock.fileno())]
            child = subprocess.Popen(  # noqa: S603  (our own module, no shell)
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock.fileno(),),
                start_new_session=True,  # Ctrl-C ends the server, not its jobs
            )
            self.table.change(job.id, when=("running",), pid=child.pid)
            # Nobody else would ask for its exit code, and it would stay as a zombie.
            threading.Thread(target=child.wait, name=f"job-{job.id}", daemon=True).start()


def now() -> str:
    """This moment as the table has it: RFC 3339, UTC."""
    return _text(datetime.now(UTC))


def wait_until_ended(table: JobTable, job_id: int, seconds: float) -> Job:
    """A job when it has ended, or as it is when the time is over."""
    deadline = time.monotonic() + seconds
    while (job := table.get(job_id)).state not in ENDED and time.monotonic() < deadline:
        time.sleep(0.1)
    return job


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _find(connection: sqlite3.Connection, job_id: int) -> Job:
    row = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()  # noqa: S608
    if row is None:
        raise NoSuchJobError(f"there is no job {job_id}.")
    return _job(row)


def _job(row: Any) -> Job:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    words = json.loads(values.pop("words"))
    values["steps"] = tuple(map(tuple, words if words and isinstance(words[0], list) else [words]))
    values["warnings"] = tuple(json.loads(values["warnings"]))
    values["result"] = json.loads(values["result"]) if values["result"] else None
    values["cancelled"] = bool(values["cancelled"])
    return Job(**values)
