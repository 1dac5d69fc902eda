"""`lookalike reconstruct, denoise, outliers, codes, decode, sample, morph`: what a model does without a gallery."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import NothingFoundError, SettingsError
from train.interruption import StopRequest, stop_request

if TYPE_CHECKING:
    from export.bundle import Bundle
    from export.uses.codes import CodeFile, Stored
    from export.uses.outliers import Outliers
    from export.uses.pictures import Model
    from train.datasets.lookup import Dataset
    from train.decoding import DecodePool

Function = TypeVar("Function", bound=Callable[..., Any])

MAX_BAD = 0.05  # as in export.uses.pictures, which is imported only when a command runs; a test compares them
MAX_SIZE = 100_000  # pictures of one `sample`

_pictures = click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...", type=click.Path(path_type=Path))
_folder = click.argument("folder", type=click.Path(path_type=Path))
_model = click.option("--model", help="Name or folder of the model.  [default: the only one there is]")
_force = click.option("--force", is_flag=True, help="Write over what an earlier run wrote.")
_provider = click.option("--provider", default="auto", help="Execution provider: auto, cpu, cuda, ... (see `doctor`).")
_threads = click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: one for each core]")
_workers = click.option(
    "--workers", type=click.IntRange(min=1), help="Processes that decode images.  [default: one for each core]"
)
_max_bad = click.option(
    "--max-bad",
    type=click.FloatRange(0, 1),
    default=MAX_BAD,
    help="Share of the pictures that may be rejected before the command ends with code 3.",
)


def _working_options(function: Function) -> Function:
    """Give a command that reads pictures the options that say how."""
    for option in (_max_bad, _workers, _threads, _provider, _force, _model):
        function = option(function)
    return function


@click.command(
    cls=Command,
    examples="lookalike reconstruct cat.jpg dog.jpg -o sheet.png\nlookalike reconstruct ~/Pictures -o painted/ --json",
)
@_pictures
@click.option("-o", "--output", required=True, help="A sheet (.png, .jpg, .webp), or a folder for one file each.")
@_working_options
@common_options
def reconstruct(
    line: CommandLine,
    pictures: tuple[Path, ...],
    output: str,
    model: str | None,
    force: bool,
    provider: str,
    threads: int | None,
    workers: int | None,
    max_bad: float,
) -> None:
    """Show what a model makes of pictures, with the error of each."""
    from export.uses.pictures import is_folder, pictures_of, psnr
    from export.uses.reconstruct import reconstruct as work

    with _at_work(line, model, provider, threads, workers) as (opened, pool, stop):
        found = work(
            opened,
            pool,
            pictures_of(pictures, output=Path(output)),
            Path(output),
            folder=is_folder(output),
            force=force,
            reporter=line.reporter,
            stop=stop,
        )
    if found.errors:
        each = [
            {"file": name, "mse": float(f"{error:.6g}"), "psnr": round(psnr(error), 2)}
            for name, error in zip(found.names, found.errors, strict=True)
        ]
        lines = [
            f"{error:.5f}  {psnr(error):5.1f} dB  {name}" for name, error in zip(found.names, found.errors, strict=True)
        ]
        lines.append(f"{found.mse:.5f}  {psnr(found.mse):5.1f} dB  mean of {len(each):,}, in {output}")
        record = {"results": each, "mse": found.mse, "psnr": psnr(found.mse), "output": output}
        line.result(record | found.tally.record(), "\n".join(lines))
    found.tally.judge(max_bad)


@click.command(
    cls=Command,
    examples="lookalike denoise scan.png -o clean/ --model denoiser\n"
    "lookalike denoise ~/Scans -o clean/ --format jpg --skip-existing",
)
@_pictures
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of the results."
)
@click.option(
    "--format", "picture_format", type=click.Choice(["png", "jpg", "webp"]), default="png", help="Of the files."
)
@click.option(
    "--overlap",
    type=click.FloatRange(0.05, 0.5),
    default=0.25,
    help="Of neighbouring tiles, as a share of their side; larger is slower.",
)
@click.option("--anyway", is_flag=True, help="Take a model that was not trained to remove anything.")
@click.option(
    "--skip-existing", is_flag=True, help="Leave out pictures whose result is there: an interrupted run goes on."
)
@_working_options
@common_options
def denoise(
    line: CommandLine,
    pictures: tuple[Path, ...],
    output: Path,
    model: str | None,
    provider: str,
    threads: int | None,
    workers: int | None,
    max_bad: float,
    **settings: Any,
) -> None:
    """Clean pictures: noise, lettering, boxes, as the model was trained."""
    from export.choice import choose_model
    from export.uses.denoise import denoise as work
    from export.uses.denoise import expect_trained_for_it
    from export.uses.pictures import pictures_of

    bundle = choose_model(line.workspace, model)
    if not settings["anyway"]:
        expect_trained_for_it(bundle)
    found = pictures_of(pictures, output=output)
    with _at_work(line, model, provider, threads, workers) as (opened, pool, stop):
        done = work(opened, pool, found, output, reporter=line.reporter, stop=stop, **settings)
    skipped = f" {done.skipped:,} were there already." if done.skipped else ""
    if done.files or done.skipped:
        record = {"folder": str(output), "files": [str(file) for file in done.files], "skipped": done.skipped}
        text = f"{len(done.files):,} pictures cleaned, in {output}.{skipped}"
        line.result(record | done.tally.record(), text)
    if done.tally.bad or not done.skipped:
        done.tally.judge(max_bad)


@click.command(
    cls=Command,
    examples="lookalike outliers ~/Pictures --model pictures -o outliers.html\n"
    "lookalike outliers mnist --model zeros --normal 0 --threshold-quantile 0.95",
)
@click.argument("source", metavar="FOLDER")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="All scores (.csv, .jsonl), or a page (.html).",
)
@click.option(
    "--threshold-quantile",
    type=click.FloatRange(0, 1),
    default=0.99,
    help="Share of held-out training pictures that is not unusual.",
)
@click.option(
    "--normal", multiple=True, metavar="LABEL", help="A first folder whose pictures are normal: AUROC. May be repeated."
)
@click.option("--top", type=click.IntRange(min=0), default=20, help="How many are listed.")
@click.option(
    "--split",
    type=click.Choice(["train", "test", "all"]),
    default="test",
    help="Of a data set that says which is which.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder of data sets.  [default: datasets/ of the workspace]"
)
@_working_options
@common_options
def outliers(
    line: CommandLine,
    source: str,
    output: Path | None,
    threshold_quantile: float,
    normal: tuple[str, ...],
    top: int,
    split: str,
    data: Path | None,
    model: str | None,
    force: bool,
    provider: str,
    threads: int | None,
    workers: int | None,
    max_bad: float,
) -> None:
    """Find pictures that are unlike those that a model was trained on."""
    from export.uses.outliers import DatasetSource, FolderSource, find_outliers
    from export.uses.pictures import pictures_of

    dataset = None
    if not Path(source).is_dir():
        dataset = _dataset(source, data or line.workspace.home / "datasets")
    with _at_work(line, model, provider, threads, workers) as (opened, pool, stop):
        found = find_outliers(
            opened,
            FolderSource(pictures_of([Path(source)]), pool)
            if dataset is None
            else DatasetSource(dataset, None if split == "all" else split),
            quantile=threshold_quantile,
            normal=normal,
            output=output,
            force=force,
            reporter=line.reporter,
            stop=stop,
        )
    if found.scored:
        _show_outliers(line, found, output, top)
    found.tally.judge(max_bad)


def _dataset(source: str, folder: Path) -> "Dataset":
    from train.datasets.lookup import find_dataset

    # What looks like a path is one: "no such data set" would be a riddle.
    if os.sep in source and not Path(source).is_file():
        raise NothingFoundError(f"there is no folder {source}: give the folder of your pictures, or name a data set.")
    return find_dataset(source, folder)


def _show_outliers(line: CommandLine, found: "Outliers", output: Path | None, top: int) -> None:
    from export.uses.outliers import rows_of

    lines = [f"{row['mse']:.5f} {'*' if row['outlier'] else ' '} {row['file']}" for row in rows_of(found, top)]
    share = found.above / len(found.scored)
    lines.append(
        f"{found.above:,} of {len(found.scored):,} pictures ({share:.1%}) are above {found.threshold:.5f} (*), which "
        f"{found.quantile:.1%} of {found.held_out:,} held-out training pictures stay below."
    )
    if judged := found.judged:
        lines.append(
            f"AUROC {judged['auroc']:.4f}, average precision {judged['average_precision']:.4f}: "
            f"{judged['outliers']:,} outliers among {judged['normal_pictures']:,} of {', '.join(judged['normal'])}."
        )
    if output is not None:
        lines.append(f"Written: {output}")
    record = {
        "threshold": found.threshold,
        "quantile": found.quantile,
        "above": found.above,
        "top": list(rows_of(found, top)),
        "output": None if output is None else str(output),
        **found.judged,
    }
    line.result(record | found.tally.record(), "\n".join(lines))


@click.command(
    cls=Command,
    examples="lookalike codes ~/Pictures -o pictures.npz --dtype uint8\nlookalike decode pictures.npz -o painted/",
)
@_folder
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A .npz or .parquet file."
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "uint8"]),
    default="float32",
    help="Of the stored numbers: float16 takes half the bytes, uint8 a quarter.",
)
@_working_options
@common_options
def codes(
    line: CommandLine,
    folder: Path,
    output: Path,
    dtype: Any,
    model: str | None,
    force: bool,
    provider: str,
    threads: int | None,
    workers: int | None,
    max_bad: float,
) -> None:
    """Store pictures as codes: how small they become, and what is lost."""
    from export.uses.codes import store_codes
    from export.uses.pictures import pictures_of

    _expect_folder(folder)
    with _at_work(line, model, provider, threads, workers) as (opened, pool, stop):
        stored = store_codes(
            opened, pool, pictures_of([folder]), output, dtype=dtype, force=force, reporter=line.reporter, stop=stop
        )
    if stored.count:
        _show_stored(line, stored)
    stored.tally.judge(max_bad)


def _show_stored(line: CommandLine, stored: "Stored") -> None:
    from export.uses.pictures import psnr

    by_source, by_pixels = stored.source_bytes / stored.code_bytes, stored.pixel_bytes / stored.code_bytes
    of_all = "" if stored.measured == stored.count else f" (measured on {stored.measured:,} of them)"
    text = (
        f"{stored.count:,} pictures as {stored.dims:,} numbers of {stored.dtype} each: {stored.code_bytes:,} bytes of "
        f"codes, {stored.file_bytes:,} with names, in {stored.file}.\n"
        f"{by_source:,.1f} times smaller than their files ({stored.source_bytes:,} bytes), {by_pixels:,.1f} times "
        f"smaller than their pixels at {stored.size} x {stored.size} ({stored.pixel_bytes:,} bytes).\n"
        f"What comes back differs by a mean squared error of {stored.mse:.5f} ({psnr(stored.mse):.1f} dB){of_all}.\n"
        f"Next: lookalike decode {stored.file} -o FOLDER"
    )
    record = {
        "file": str(stored.file),
        "dtype": stored.dtype,
        "dims": stored.dims,
        "code_bytes": stored.code_bytes,
        "file_bytes": stored.file_bytes,
        "source_bytes": stored.source_bytes,
        "pixel_bytes": stored.pixel_bytes,
        "ratio_to_files": round(by_source, 3),
        "ratio_to_pixels": round(by_pixels, 3),
        "mse": stored.mse,
        "psnr": psnr(stored.mse),
        "measured": stored.measured,
    }
    line.result(record | stored.tally.record(), text)


@click.command(cls=Command, examples="lookalike decode pictures.npz -o painted/")
@click.argument("codes", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder of the pictures."
)
@click.option("--model", help="Name or folder of the model.  [default: the one of the workspace that made the codes]")
@_force
@_provider
@_threads
@common_options
def decode(
    line: CommandLine,
    codes: Path,
    output: Path,
    model: str | None,
    force: bool,
    provider: str,
    threads: int | None,
) -> None:
    """Paint stored codes as pictures again."""
    from export.uses.codes import CodeFile, decode_codes, expect_same_model
    from export.uses.pictures import Model

    stored = CodeFile.open(codes)
    bundle = _maker(line, model, stored)
    expect_same_model(stored, bundle)
    opened = Model.open(bundle, provider=provider, threads=threads, encoder=False)
    line.reporter.say(opened.sentence)
    with stop_request() as stop:
        files = decode_codes(opened, stored, output, force=force, reporter=line.reporter, stop=stop)
    text = f"{len(files):,} pictures of {opened.size} x {opened.size} pixels, in {output}."
    line.result({"folder": str(output), "pictures": len(files), "files": [str(file) for file in files]}, text)


def _maker(line: CommandLine, model: str | None, stored: "CodeFile") -> "Bundle":
    """The model that was asked for, else the one of the workspace that made the codes."""
    from export.bundle import Bundle
    from export.choice import choose_model
    from train.errors import UserError

    if model is None:
        for name in line.workspace.names("models"):
            try:
                bundle = Bundle.open(line.workspace.existing("models", name))
            except UserError:
                continue  # whatever is wrong with it, it may not be the one
            if bundle.model_id == stored.model_id:
                return bundle
    return choose_model(line.workspace, model)


@click.command(
    cls=Command,
    examples="lookalike sample --model faces --count 64 --seed 3 -o sheet.png\nlookalike sample --count 1000 -o faces/",
)
@click.option("-o", "--output", required=True, help="A sheet (.png, .jpg, .webp), or a folder for one file each.")
@click.option("--count", type=click.IntRange(1, MAX_SIZE), default=64, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="The same seed gives the same pictures.")
@_model
@_force
@_provider
@_threads
@common_options
def sample(
    line: CommandLine,
    output: str,
    count: int,
    seed: int,
    model: str | None,
    force: bool,
    provider: str,
    threads: int | None,
) -> None:
    """Paint new pictures from codes drawn by chance."""
    from export.choice import choose_model
    from export.uses.pictures import Model, is_folder
    from export.uses.sample import sample as work

    bundle = choose_model(line.workspace, model)
    opened = Model.open(bundle, provider=provider, threads=threads, encoder=False)
    line.reporter.say(opened.sentence)
    with stop_request() as stop:
        drawn = work(
            opened,
            Path(output),
            folder=is_folder(output),
            count=count,
            seed=seed,
            force=force,
            reporter=line.reporter,
            stop=stop,
        )
    said = "" if drawn.trained_for_it else " The model was not trained for this: see a variational recipe."
    record = {"output": output, "count": count, "seed": seed, "trained_for_it": drawn.trained_for_it}
    line.result(record, f"{count:,} pictures painted, seed {seed}, in {output}.{said}")


@click.command(
    cls=Command,
    examples="lookalike morph cat.jpg dog.jpg -o strip.png --frames 7\n"
    "lookalike morph cat.jpg dog.jpg -o morph.webp --frames 24 --fps 12",
)
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A strip (.png), or an animation (.webp, .gif).",
)
@click.option("--frames", type=click.IntRange(2, 500), default=7, help="Painted from A to B, both ends among them.")
@click.option(
    "--path", "way", type=click.Choice(["slerp", "lerp"]), default="slerp", help="On an arc, or a straight line."
)
@click.option("--fps", type=click.FloatRange(0.1, 50), default=12.0, help="Frames a second of an animation.")
@_model
@_force
@_provider
@_threads
@common_options
def morph(
    line: CommandLine,
    first: Path,
    second: Path,
    output: Path,
    frames: int,
    way: Any,
    fps: float,
    model: str | None,
    force: bool,
    provider: str,
    threads: int | None,
) -> None:
    """Paint what lies between two pictures."""
    from export.uses.morph import morph as work
    from export.uses.pictures import Picture

    a, b = (Picture(place.parent, os.fsencode(place.name), named=True) for place in (first, second))
    with _at_work(line, model, provider, threads, 2) as (opened, pool, _stop):
        made = work(opened, pool, a, b, output, frames=frames, path=way, fps=fps, force=force)
    record = {"output": str(output), "frames": frames, "path": way, "size": opened.size}
    line.result(record, f"{len(made.frames)} frames from {first.name} to {second.name} ({way}), in {output}.")


@contextmanager
def _at_work(
    line: CommandLine, model: str | None, provider: str, threads: int | None, workers: int | None
) -> "Iterator[tuple[Model, DecodePool, StopRequest]]":
    """The model with both graphs, decoders, and a watch for signals."""
    from export.choice import choose_model
    from export.uses.pictures import Model
    from train.decoding import DecodePool
    from train.images import FOLDER_LIMITS

    opened = Model.open(choose_model(line.workspace, model), provider=provider, threads=threads)
    line.reporter.say(opened.sentence)
    with DecodePool(workers or len(os.sched_getaffinity(0)), FOLDER_LIMITS) as pool, stop_request() as stop:
        yield opened, pool, stop


def _expect_folder(folder: Path) -> None:
    if folder.is_file():
        raise SettingsError(f"{folder} is a file: give the folder of your pictures.")
    if not folder.is_dir():
        raise NothingFoundError(f"there is no folder {folder}: give the folder of your pictures.")
