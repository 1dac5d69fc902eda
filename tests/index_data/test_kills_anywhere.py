"""SIGKILL at random moments of adding, removing, building, publishing and rolling back, again and again in one gallery.

After each: it opens, `verify` finds nothing harmful, all that was acknowledged is there, and the change that was being
made is there as a whole or not at all.
"""

import json
import random
import subprocess
import sys
import time

import pytest

from export.sessions import Encoder
from index_data.gallery import Gallery
from index_data.generations import build_generation, stored_names
from index_data.verification import verify
from tests.index_data.living import KINDS, answer, nearest, open_engine, put, vectors

CHANGER = """
import json, random, sys
from pathlib import Path
from index_data.gallery import Gallery
from index_data.generations import build_generation, build_if_due, roll_back, stored_names
from index_data.removing import remove_items
from tests.index_data.living import KINDS, ids_of, put
from train.files import locked

chance = random.Random(int(sys.argv[2]))
with Gallery.open(Path(sys.argv[1])) as gallery:
    def say(**what):
        print(json.dumps(what), flush=True)

    say(ready=True)
    while True:
        ids = {path.decode(): number for path, number in ids_of(gallery).items()}
        kind = chance.choice(["put", "put", "remove", "build", "if due", "roll back"])
        if kind == "put":
            files = {f"{chance.randrange(400):03}": chance.randrange(%d) for _ in range(chance.randint(1, 60))}
            say(begin="put", files=files)
            put(gallery, {path.encode(): number for path, number in files.items()})
        elif kind == "remove" and ids:
            paths = chance.sample(sorted(ids), min(len(ids), chance.randint(1, 40)))
            say(begin="remove", paths=paths)
            remove_items(gallery, [ids[path] for path in paths])
        elif kind == "if due":
            say(begin="build")
            build_if_due(gallery)
        else:
            say(begin="build")
            with locked(gallery.folder, "index build"):
                if kind == "roll back" and len(stored_names(gallery)) > 1:
                    roll_back(gallery, stored_names(gallery)[1])
                else:
                    build_generation(gallery)
        say(done=True)
"""


def applied(held: dict[str, int], change: dict) -> dict[str, int]:
    if change["begin"] == "put":
        return held | change["files"]
    if change["begin"] == "remove":
        return {path: kind for path, kind in held.items() if path not in change["paths"]}
    return held


@pytest.mark.parametrize("kills", [12, pytest.param(200, marks=[pytest.mark.full, pytest.mark.timeout(3000)])])
def test_a_kill_anywhere_leaves_all_that_was_acknowledged_and_nothing_by_half(kills, bundle, tmp_path):
    chance = random.Random(kills)
    encoder = Encoder.open(bundle, provider="cpu")
    drawn = vectors(bundle.dims)
    folder = tmp_path / "gallery"
    held: dict[str, int] = {f"{number:03}": number % KINDS for number in range(300)}
    with Gallery.create(folder, bundle) as gallery:
        put(gallery, {path.encode(): kind for path, kind in held.items()})
        build_generation(gallery)
    midway = acknowledged = 0
    for seed in range(kills):
        words = [sys.executable, "-c", CHANGER % KINDS, str(folder), str(seed)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout.readline(), process.stderr.read().decode()
            time.sleep(chance.uniform(0, 0.5))
            process.kill()
            said = [json.loads(line) for line in process.stdout.read().splitlines() if line.endswith(b"}")]
            assert process.stderr.read() == b""
        begun = None
        for each in said:
            if "begin" in each:
                begun = each
            else:
                held, begun = applied(held, begun), None
                acknowledged += 1
        with Gallery.open(folder) as gallery:
            items = gallery.items(limit=1000)
            found = {item.path.decode(): int(item.sha256, 16) for item in items}
            if begun is not None:
                midway += 1
                assert found in (held, applied(held, begun))
                held = found
            assert found == held
            assert not [finding for finding in verify(gallery) if finding.harmful]
            assert len(stored_names(gallery)) >= 1
        with open_engine(folder, bundle, encoder) as engine:
            assert engine.degraded is None
            query = drawn[chance.randrange(KINDS)]
            expected = nearest({item.id: drawn[held[item.path.decode()]] for item in items}, query, 20)
            assert answer(engine, query, 20) == expected
    print(f"{kills} kills, {midway} in the middle of a change, {acknowledged} changes acknowledged")  # noqa: T201  (for docs)
    assert midway >= kills // 2
