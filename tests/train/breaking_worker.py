"""A decode worker that breaks down on purpose: on files that end with a word of `BREAKDOWNS`."""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "train"))

import decode_worker

decode_worker.RETIRE_AFTER_IMAGES = 20


def say_what_is_loaded():
    raise decode_worker.Refused("corrupt", " ".join(sorted(n for n in sys.modules if n.endswith("ImagePlugin"))))


def say_what_is_allowed():
    kinds = ("AS", "FSIZE", "CORE", "NOFILE")
    facts = {kind: resource.getrlimit(getattr(resource, f"RLIMIT_{kind}"))[0] for kind in kinds}
    facts["nice"] = os.nice(0)
    facts["oom"] = Path("/proc/self/oom_score_adj").read_text().strip()
    facts["environment"] = sorted(os.environ)
    facts["numpy"] = "numpy" in sys.modules
    facts["privileges"] = "NoNewPrivs:\t1" in Path("/proc/self/status").read_text()
    raise decode_worker.Refused("corrupt", json.dumps(facts))


def answer_with_rubbish():
    os.write(4, decode_worker.LENGTHS.pack(4, 0) + b"\xff\0{[")


BREAKDOWNS = {
    b"SEGFAULT": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    b"KILLED": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"EXIT": lambda: os._exit(3),
    b"SLEEP": lambda: time.sleep(600),
    b"SPIN": lambda: pow(3, 10**9),  # in C, holding the interpreter's lock
    b"MEMORY": lambda: bytearray(1 << 40),
    b"RECURSION": lambda: json.loads("[" * 100_000),
    b"RUBBISH": answer_with_rubbish,
    b"ENDLESS": lambda: os.write(4, decode_worker.LENGTHS.pack(9, 4_294_967_295)),
    b"LIST": lambda: os.write(4, decode_worker.LENGTHS.pack(3, 0) + b"[7]"),
    b"NO SIZE": lambda: os.write(4, decode_worker.LENGTHS.pack(2, 0) + b"{}"),
    b"LOADED": say_what_is_loaded,
    b"ALLOWED": say_what_is_allowed,
}
open_image = decode_worker._open


def open_or_break(data, image_format):
    for word, breakdown in BREAKDOWNS.items():
        if data.endswith(word):
            breakdown()
    return open_image(data, image_format)


decode_worker._open = open_or_break

if __name__ == "__main__":
    decode_worker.main()
