"""`lookalike index outliers`, `map` and `knn`: what is computed of a whole gallery."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import SettingsError
from train.interruption import stop_request
from train.printable import printable

if TYPE_CHECKING:
    from export.bundle import Bundle
    from export.sessions import Decoder
    from index_data.gallery import Gallery
    from index_data.mapping import Method
    from index_data.outliers import By

LIST_FORMATS = (".csv", ".jsonl")
MAX_K = 1000


@click.command(
    cls=Command,
    examples="lookalike index outliers photos\nlookalike index outliers photos --by distance -o outliers.csv",
)
@click.argument("gallery")
@click.option(
    "--by",
    type=click.Choice(["reconstruction", "distance"]),
    help="How badly it is painted, or how far its neighbours are.  [default: reconstruction, where there is a decoder]",
)
@click.option("--top", type=click.IntRange(min=0), default=20, help="How many are shown.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A list of all (.csv, .jsonl).")
@click.option("--known", is_flag=True, help="Show what was computed before; compute nothing.")
@click.option("--provider", default="auto", help="Execution provider: auto, cpu, cuda, ... (see `doctor`).")
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Processes that decode images.")
@common_options
def outliers(
    line: CommandLine,
    gallery: str,
    by: "By | None",
    top: int,
    output: Path | None,
    known: bool,
    provider: str,
    workers: int,
) -> None:
    """Rank the items of a gallery by how unusual they are, the most unusual first."""
    from index_data.gallery import Gallery
    from index_data.outliers import compute_outliers, ranked_outliers
    from train.decoding import DecodePool
    from train.images import FOLDER_LIMITS

    _expect_list(output)
    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened:
        bundle = opened.open_bundle()
        by = by or ("reconstruction" if bundle.has_decoder else "distance")
        if not known:
            with DecodePool(workers, FOLDER_LIMITS) as pool, stop_request() as stop:
                painter = _decoder(bundle, provider)
                missed = compute_outliers(
                    opened,
                    pool,
                    painter,
                    in_greys=bundle.facts.channels == 1,
                    reporter=line.reporter,
                    stop=stop,
                )
                if missed:
                    line.reporter.say(f"{missed:,} pictures could not be looked at: their files are gone.")
        ranked = ranked_outliers(opened, by, bundle)
        pairs = list(zip(ranked.ids.tolist(), ranked.values.tolist(), strict=True))
        if output is not None:
            _write_list(output, ("rank", "id", "path", by), _outlier_rows(opened, pairs))
        shown = list(_outlier_rows(opened, pairs[:top]))
        unusual = None if ranked.threshold is None else sum(value > ranked.threshold for _, value in pairs)
    lines = [f"{rank:>6}  {value:.5f}  {number:>8}  {path}" for rank, number, path, value in shown]
    if unusual is not None:
        lines.append(f"{unusual:,} of {len(pairs):,} items are painted worse than 99 % of the training pictures.")
    if ranked.is_stale:
        lines.append("The gallery has changed since this was computed.")
    names = ("rank", "id", "path", "value")
    record = {
        "gallery": gallery,
        "by": by,
        "items": len(pairs),
        "threshold": ranked.threshold,
        "unusual": unusual,
        "shown": [dict(zip(names, row, strict=True)) for row in shown],
    }
    line.result(record, "\n".join(lines))


@click.command(name="map", cls=Command, examples="lookalike index map photos\nlookalike index map photos --method umap")
@click.argument("gallery")
@click.option("--method", type=click.Choice(["pca", "umap"]), default="pca", help="umap takes the extra [map].")
@click.option("--clusters", type=click.IntRange(1, 1000), help="How many.  [default: as suits the number of items]")
@click.option("--seed", type=click.IntRange(0, 2**31 - 2), default=0, help="The same one draws the same map.")
@click.option("--provider", default="auto", help="Execution provider: auto, cpu, cuda, ... (see `doctor`).")
@common_options
def map_command(
    line: CommandLine, gallery: str, method: "Method", clusters: int | None, seed: int, provider: str
) -> None:
    """Lay the items of a gallery out on a plane, those alike near each other, in clusters."""
    from index_data.gallery import Gallery
    from index_data.mapping import compute_map

    with Gallery.open(line.workspace.existing("galleries", gallery)) as opened, stop_request() as stop:
        painter = _decoder(opened.open_bundle(), provider)
        drawn = compute_map(
            opened, painter, method=method, clusters=clusters, seed=seed, reporter=line.reporter, stop=stop
        )
    count = len(drawn.medoids)
    record = {"gallery": gallery, "method": method, "items": len(drawn.ids), "clusters": count}
    line.result(record, f"{len(drawn.ids):,} items are on the map ({method}), in {count} clusters.")


@click.command(cls=Command, examples="lookalike index knn photos -k 10 -o neighbours.csv")
@click.argument("gallery")
@click.option("-k", type=click.IntRange(1, MAX_K), default=10, help="How many neighbours of each item.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The list (.csv, .jsonl), or arrays of NumPy (.npz): ids, neighbours, scores.",
)
@common_options
def knn(line: CommandLine, gallery: str, k: int, output: Path) -> None:
    """Write the nearest neighbours of every item of a gallery to a file."""
    import numpy as np

    from index_data.gallery import Gallery
    from index_data.neighbours import NOBODY, all_neighbours, open_segments
    from train.files import atomic_file

    suffix = output.suffix.lower()
    if suffix != ".npz":
        _expect_list(output, (*LIST_FORMATS, ".npz"))
    with (
        Gallery.open(line.workspace.existing("galleries", gallery)) as opened,
        stop_request() as stop,
        atomic_file(output) as file,
    ):
        segments = open_segments(opened)
        blocks = all_neighbours(segments, k, reporter=line.reporter, stop=stop)
        if suffix == ".npz":
            parts = list(blocks)
            empty = np.empty((0, k))
            np.savez(
                file,
                ids=np.concatenate([np.empty(0, np.int64), *(part.ids for part in parts)]),
                neighbours=np.concatenate([empty.astype(np.int64), *(part.neighbours for part in parts)]),
                scores=np.concatenate([empty.astype(np.float32), *(part.scores for part in parts)]),
            )
        else:
            text = io.TextIOWrapper(file, "utf-8", newline="")
            writer = csv.writer(text)
            if suffix == ".csv":
                writer.writerow(("id", "rank", "neighbour", "score"))
            for block in blocks:
                for number, others, scores in zip(
                    block.ids.tolist(), block.neighbours.tolist(), block.scores.tolist(), strict=True
                ):
                    pairs = [(other, score) for other, score in zip(others, scores, strict=True) if other != NOBODY]
                    if suffix == ".csv":
                        writer.writerows(
                            (number, rank, other, f"{score:.6f}") for rank, (other, score) in enumerate(pairs, 1)
                        )
                    else:
                        found = [{"id": str(other), "score": round(score, 6)} for other, score in pairs]
                        text.write(json.dumps({"id": str(number), "neighbours": found}) + "\n")
            text.flush()
            text.detach()
        count = segments.count
    record = {"gallery": gallery, "items": count, "k": k, "output": str(output)}
    line.result(record, f"The {k} nearest neighbours of {count:,} items are in {output}.")


COMMANDS = (outliers, map_command, knn)


def _decoder(bundle: "Bundle", provider: str) -> "Decoder | None":
    from export.sessions import Decoder

    return Decoder.open(bundle, provider=provider) if bundle.has_decoder else None


def _expect_list(output: Path | None, formats: tuple[str, ...] = LIST_FORMATS) -> None:
    if output is not None and output.suffix.lower() not in formats:
        raise SettingsError(f"{output} ends in none of {', '.join(formats)}: name the file so.")


def _outlier_rows(gallery: "Gallery", pairs: list[tuple[int, float]]) -> Iterator[tuple[int, int, str, float]]:
    for start in range(0, len(pairs), 1000):
        some = pairs[start : start + 1000]
        paths = {item.id: printable(item.path) for item in gallery.items_by_id([number for number, _ in some])}
        for rank, (number, value) in enumerate(some, start + 1):
            if number in paths:
                yield rank, number, paths[number], round(value, 8)


def _write_list(output: Path, names: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    from train.files import write_file

    text = io.StringIO()
    if output.suffix.lower() == ".csv":
        writer = csv.writer(text)
        writer.writerow(names)
        writer.writerows(rows)
    else:
        text.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    write_file(output, text.getvalue().encode())
