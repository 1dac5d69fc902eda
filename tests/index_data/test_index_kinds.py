"""Galleries whose index is not flat: built, kept, explained, searched, damaged."""

import json
from pathlib import Path

import numpy as np
import pytest

from index_data.engine import Engine
from index_data.gallery import Content, FileState, Gallery
from index_data.generations import (
    build_generation,
    current,
    current_record,
    describe_generations,
    load_generation,
    read_manifest,
    roll_back,
)
from index_data.indexes.choosing import Aims
from index_data.segments import Segments
from index_data.verification import verify
from tests.index_data.conftest import as_older_format
from tests.index_data.indexes.conftest import embeddings, exact_neighbours, recall
from tests.index_data.test_commands import lookalike
from train.errors import SettingsError
from train.interruption import Interrupted, StopRequest

COUNT = 1500
KINDS = ["hnsw", "hnsw-sq8", "ivf-pq", "ivf-rabitq"]


def fill(gallery, vectors):
    """Items whose files are nowhere: what an index holds of them is their embedding."""
    for start in range(0, len(vectors), 500):
        with gallery.changes() as changes:
            root = changes.root_id(Path("/nowhere"))
            for number in range(start, min(start + 500, len(vectors))):
                content = Content(
                    number.to_bytes(32, "big"), 8, 8, "png", np.zeros(gallery.dims, np.float32), vectors[number]
                )
                state = FileState(root, f"{number}.png".encode(), 1, 1)
                changes.put_item(state, changes.add_content(content))


@pytest.fixture(scope="module")
def large_folder(bundle, tmp_path_factory):
    """A gallery of 1,500 items of the model that averages colours."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "galleries" / "large"
    with Gallery.create(folder, bundle) as gallery:
        fill(gallery, embeddings(COUNT, dims=gallery.dims))
    return folder


@pytest.fixture
def large(large_folder, tmp_path):
    import shutil

    with Gallery.open(shutil.copytree(large_folder, tmp_path / "galleries" / "large")) as gallery:
        yield gallery


def found(generation, queries, **how):
    return generation.ids[generation.search(queries, 10, **how)[1]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_generation_of_any_kind_reads_back_as_it_was_built(large, kind, precision):
    built = build_generation(large, Aims(kind=kind, recall=0.9), precision=precision, threads=1)
    loaded = load_generation(large, built.name)
    queries = embeddings(50, dims=large.dims, seed=1)
    assert np.array_equal(found(loaded, queries), found(built, queries))
    assert (loaded.kind, loaded.record) == (kind, built.record)
    manifest = read_manifest(large, built.name)
    assert (manifest.kind, manifest.count) == (kind, COUNT)
    assert manifest.recall > 0.8
    assert describe_generations(large)[0]["kind"] == kind


def test_exact_and_accuracy_are_honoured(large):
    build_generation(large, Aims(kind="ivf-pq", recall=0.8), threads=1)
    generation, _ = current(large)
    queries = embeddings(100, dims=large.dims, seed=1)
    _, expected = exact_neighbours(generation.built.vectors.array, queries, 10)
    share = {accuracy: recall(generation.search(queries, 10, accuracy=accuracy)[1], expected) for accuracy in (0.5, 1)}
    assert share[1] == 1
    assert share[0.5] < 1
    usual = recall(generation.search(queries, 10)[1], expected)
    assert share[0.5] <= usual <= 1


def test_the_next_build_keeps_kind_aims_and_precision_until_something_else_is_said(large):
    build_generation(large, Aims(kind="hnsw", recall=0.9), precision="float16", threads=1)
    again = build_generation(large, threads=1)
    assert (again.kind, again.record.precision, again.record.aims.recall) == ("hnsw", "float16", 0.9)
    other = build_generation(large, Aims(latency_ms=1000), threads=1)
    assert (other.kind, other.record.precision) == ("flat", "float16")


def test_a_chosen_kind_is_built_again_without_comparing_others(large):
    first = build_generation(large, Aims(latency_ms=1e-6, recall=0.8), threads=1)
    assert first.kind != "flat"
    assert first.record.trials
    again = build_generation(large, threads=1)
    assert again.kind == first.kind
    assert again.record.trials == ()
    assert "chosen before" in again.record.reasons[0]


def test_removed_items_and_fresh_ones_are_seen_beside_any_kind(large):
    generation = build_generation(large, Aims(kind="hnsw-sq8", recall=0.9), threads=1)
    query = embeddings(COUNT, dims=large.dims)[:1]
    first = int(found(generation, query)[0, 0])
    with large.changes() as changes:
        changes.remove_items([first])
    changed = large.changed_since(generation.seq)
    segments = Segments.of(generation, large.dims).after(changed)
    ids = segments.search(query, 10).ids
    assert first not in ids
    assert set(found(generation, query)[0][1:].tolist()) <= set(ids.tolist())


@pytest.mark.parametrize("name", ["vectors.npy", "index.faiss", "index.json", "ids.npy"])
def test_a_damaged_file_of_any_of_them_is_noticed_and_the_generation_before_answers(large, name):
    build_generation(large, Aims(kind="flat"), threads=1)
    built = build_generation(large, Aims(kind="ivf-rabitq", recall=0.5), threads=1)
    path = large.folder / "indexes" / built.name / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    generation, degraded = current(large)
    assert generation.kind == "flat"
    assert name in degraded


def test_a_damaged_graph_is_mended_by_verify(large):
    built = build_generation(large, Aims(kind="hnsw", recall=0.5), threads=1)
    (large.folder / "indexes" / built.name / "index.faiss").write_bytes(b"damaged")
    assert all(finding.mended for finding in verify(large, repair=True) if finding.harmful)
    assert current(large)[1] is None


def test_a_generation_is_rolled_back_to_another_kind(large):
    build_generation(large, Aims(kind="flat"), threads=1)
    build_generation(large, Aims(kind="hnsw", recall=0.9), threads=1)
    roll_back(large)
    assert current(large)[0].kind == "flat"
    assert current_record(large).kind == "flat"


def test_a_generation_of_an_older_format_still_answers(large):
    built = build_generation(large, threads=1)
    queries = embeddings(20, dims=large.dims, seed=1)
    expected = found(built, queries)
    for version in (2, 1):
        name = build_generation(large, threads=1).name
        as_older_format(large, name, version)
        loaded = load_generation(large, name)
        assert np.array_equal(found(loaded, queries), expected)
        assert loaded.kind == "flat"


def test_a_build_that_is_stopped_leaves_the_current_generation(large):
    before = build_generation(large, threads=1)
    stop = StopRequest()
    stop.signal_number = 15
    with pytest.raises(Interrupted):
        build_generation(large, Aims(kind="hnsw"), threads=1, stop=stop)
    assert current(large)[0].name == before.name
    assert sorted(entry.name for entry in (large.folder / "indexes").iterdir()) == [before.name]


def test_a_memory_that_nothing_fits_into_leaves_the_current_generation(large):
    before = build_generation(large, threads=1)
    with pytest.raises(SettingsError, match="allow more"):
        build_generation(large, Aims(memory=100), threads=1)
    assert current(large)[0].name == before.name


def test_large_files_are_mapped_and_outlive_their_names(large, monkeypatch):
    monkeypatch.setattr("index_data.generations.READ_AT_ONCE", 1000)
    built = build_generation(large, Aims(kind="hnsw", recall=0.9), threads=1)
    loaded = load_generation(large, built.name, in_full=False)
    assert not loaded.built.vectors.array.flags.owndata
    assert not loaded.checked
    for file in (large.folder / "indexes" / built.name).iterdir():
        file.unlink()
    queries = embeddings(20, dims=large.dims, seed=1)
    assert np.array_equal(found(loaded, queries), found(built, queries))


# --- As it is typed -------------------------------------------------------------------------------------------------


@pytest.fixture
def home(large):
    return large.folder.parents[1]


def test_an_index_is_built_and_explained_on_the_command_line(large, home, tmp_path):
    words = ("--recall", 0.9, "--kind", "ivf-pq", "--store", "float16", "--memory", "100M", "--threads", 1)
    ended = lookalike("index", "build", "large", "--home", home, *words, "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) | {"kind": "ivf-pq"} == json.loads(ended.stdout)
    ended = lookalike("index", "explain", "large", "--home", home, "-o", tmp_path / "curve.png")
    assert ended.returncode == 0, ended.stderr
    assert "large: ivf-pq" in ended.stdout
    assert "Aimed at: recall 0.9, 5 ms, at most 100.0 MiB, as ivf-pq." in ended.stdout
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    explained = json.loads(lookalike("index", "explain", "large", "--home", home, "--json").stdout)
    assert (explained["gallery"], explained["kind"], explained["precision"]) == ("large", "ivf-pq", "float16")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kind", "hnws"), "did you mean hnsw"),
        (("--kind", "lsh"), "for comparison only"),
        (("--memory", "much"), "is no size"),
        (("--memory", "1K"), "allow more"),
        (("--recall", "1.5"), "range"),
        (("--latency", "0"), "range"),
        (("--store", "int8"), "float32"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_remedy(large, home, words, said):
    ended = lookalike("index", "build", "large", "--home", home, *words)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_an_index_of_which_nothing_is_known_says_how_to_know_more(large, home):
    ended = lookalike("index", "explain", "large", "--home", home)
    assert ended.returncode == 4
    assert "index build large" in ended.stderr


def test_a_generation_that_is_not_there_is_not_explained(large, home):
    build_generation(large, threads=1)
    ended = lookalike("index", "explain", "large", "000099", "--home", home)
    assert ended.returncode == 4
    assert "there are 000001" in ended.stderr


def test_the_engine_takes_accuracy_and_exact(copied):
    with Engine.open(copied, provider="cpu") as engine:
        query = engine.gallery.embeddings([1])
        assert engine.search(query, 5, exact=True) == engine.search(query, 5, accuracy=0.5) == engine.search(query, 5)
        assert engine.is_exact()
        with pytest.raises(SettingsError, match="from 0 to 1"):
            engine.search(query, 5, accuracy=2)
