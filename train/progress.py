"""What a long task shows while it runs: a bar on a terminal, a line every ten seconds elsewhere, or JSON lines.

Progress goes to stderr; stdout is for results.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

Mode = Literal["auto", "bar", "lines", "json", "none"]
SECONDS_BETWEEN_LINES = {"lines": 10.0, "json": 1.0}


class Task:
    """One task with a known or unknown number of steps."""

    def __init__(self, reporter: "Reporter", name: str, total: int | None, unit: str) -> None:
        self.name = name
        self.total = total
        self.unit = unit
        self.done = 0
        self.counts: dict[str, int] = {}
        self.note = ""
        self._reporter = reporter
        self._started = time.monotonic()
        self._initial = 0

    def resume_at(self, done: int) -> None:
        """Start the count at what an earlier run did; the rate counts only what this one does."""
        self.done = self._initial = done
        self._reporter._show(self)

    def advance(self, steps: int = 1, *, note: str | None = None, **counts: int) -> None:
        """Count steps done, and whatever else is worth counting (`failed=1`, `skipped=3`)."""
        self.done += steps
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        if note is not None:
            self.note = note
        self._reporter._show(self)

    @property
    def rate(self) -> float:
        """Steps a second since this run started."""
        return (self.done - self._initial) / max(time.monotonic() - self._started, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the rate so far; None while it cannot be known."""
        if self.total is None or self.done <= self._initial:
            return None
        return max(self.total - self.done, 0) / self.rate

    def sentence(self) -> str:
        """Everything in one line of text."""
        of = f"{self.done:,}" + (f"/{self.total:,}" if self.total is not None else "")
        parts = [f"{self.name}: {of} {self.unit}", f"{self.rate:,.1f} {self.unit}/s"]
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        parts += [f"{count:,} {name}" for name, count in self.counts.items() if count]
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)


class Reporter:
    """Where a command says what it is doing; library functions are given one."""

    def __init__(self, mode: Mode = "auto", stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        if mode == "auto":
            mode = "bar" if self._stream.isatty() else "lines"
        self.mode = mode
        self._last_line = 0.0
        self._bar: _Bar | None = None

    def say(self, text: str) -> None:
        """Say one sentence about the step that begins or ended."""
        if self.mode == "json":
            self._write({"event": "message", "text": text})
        elif self._bar is not None:
            self._bar.say(text)
        elif self.mode != "none":
            print(text, file=self._stream, flush=True)

    @contextmanager
    def task(self, name: str, total: int | None = None, unit: str = "images") -> Iterator[Task]:
        """Show a task until the block ends."""
        task = Task(self, name, total, unit)
        self._last_line = time.monotonic()
        if self.mode == "bar":
            self._bar = _Bar(self._stream)
        try:
            if self._bar is not None:
                with self._bar:
                    self._bar.show(task)
                    yield task
                    self._bar.show(task)
            else:
                yield task
        finally:
            self._bar = None
            if self.mode in SECONDS_BETWEEN_LINES:
                self._emit(task, "end")

    def _show(self, task: Task) -> None:
        if self._bar is not None:
            self._bar.show(task)
        elif self.mode in SECONDS_BETWEEN_LINES:
            now = time.monotonic()
            if now - self._last_line >= SECONDS_BETWEEN_LINES[self.mode]:
                self._last_line = now
                self._emit(task, "progress")

    def _emit(self, task: Task, event: str) -> None:
        if self.mode == "lines":
            print(task.sentence(), file=self._stream, flush=True)
            return
        left = task.seconds_left
        self._write(
            {
                "event": event,
                "task": task.name,
                "done": task.done,
                "total": task.total,
                "unit": task.unit,
                "rate": round(task.rate, 3),
                "seconds_left": None if left is None else round(left, 1),
                "counts": task.counts,
                "note": task.note,
            }
        )

    def _write(self, record: dict[str, object]) -> None:
        print(json.dumps(record), file=self._stream, flush=True)


class _Bar:
    """A rich progress bar; rich is imported only when a terminal looks on."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[sentence]}"),
            console=Console(file=stream),
        )
        self._row = self._progress.add_task("", total=None, sentence="")

    def __enter__(self) -> "_Bar":
        self._progress.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)

    def show(self, task: Task) -> None:
        sentence = task.sentence().removeprefix(f"{task.name}: ")
        self._progress.update(
            self._row, description=task.name, completed=task.done, total=task.total, sentence=sentence
        )


SILENT = Reporter("none")


def duration(seconds: float) -> str:
    """Seconds as people say them: 12 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
