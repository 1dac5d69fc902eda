"""How long the first minute takes: from an empty workspace to an answer of the search page, and the second start.

    python benchmarks/first_minute.py [--images FOLDER] [--minutes 1.25]

Prints seconds until /readyz answers 200 after `lookalike demo` on an empty workspace, the same for a second start, and
the seconds that `lookalike --help` takes. With --checkout it also times the set-up: a fresh clone, then `make demo`
(packages are downloaded or taken from pip's cache; the two are told apart in the output).
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PORT = 8765


def seconds_until_ready(command: list[str], folder: Path, limit: float = 1800) -> float:
    """Start a server with a command, wait until it is ready, stop it, and return the seconds it took."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, start_new_session=True, stdin=subprocess.DEVNULL)
    try:
        while time.monotonic() - started < limit:
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
            if ready():
                return time.monotonic() - started
            time.sleep(0.05)
        raise SystemExit(f"{' '.join(command)} was not ready after {limit} s")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def ready() -> bool:
    """Whether the server on PORT answers that it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def seconds_of(command: list[str], runs: int = 10) -> float:
    """Median seconds of a command."""
    times = []
    for _ in range(runs):
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.monotonic() - started)
    return statistics.median(times)


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of pictures instead of OpenMoji")
    parser.add_argument("--minutes", default="1.25", help="training budget")
    parser.add_argument("--checkout", type=Path, help="clone this repository and time `make demo` in the clone")
    asked = parser.parse_args()
    figures: dict[str, float] = {}
    lookalike = str(Path(sys.executable).with_name("lookalike"))
    folder = Path(tempfile.mkdtemp(prefix="first-minute-"))
    try:
        options = ["--port", str(PORT), "--no-browser", "--minutes", asked.minutes]
        options += ["--images", str(asked.images.resolve())] if asked.images else []
        command = [lookalike, "demo", *options]
        if asked.checkout:
            subprocess.run(["git", "clone", "-q", str(asked.checkout), str(folder / "clone")], check=True)
            folder /= "clone"
            started = time.monotonic()
            subprocess.run(["make", ".venv/.demo"], cwd=folder, check=True)
            figures["set_up_seconds"] = time.monotonic() - started
            command = ["make", "demo", f"ARGS={' '.join(options)}"]
        figures["first_start_seconds"] = seconds_until_ready(command, folder)
        figures["second_start_seconds"] = seconds_until_ready(command, folder)
        figures["help_seconds"] = seconds_of([lookalike, "--help"])
        figures["train_help_seconds"] = seconds_of([lookalike, "train", "--help"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
