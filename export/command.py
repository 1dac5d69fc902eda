"""`lookalike export`: a run, or somebody else's ONNX encoder, as a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from train.command_line import Command, CommandLine, common_options
from train.errors import SettingsError

if TYPE_CHECKING:
    from export.bundle import Bundle

_EXAMPLES = """\
lookalike export pictures
lookalike export runs/2026-11 --name herbarium --licence "CC BY 4.0, our own photographs"
lookalike export --from-onnx resnet.onnx --size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --name resnet
"""


class Triple(click.ParamType[Any]):
    """Three numbers with commas, or one for all three channels."""

    name = "r,g,b"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Read "0.485,0.456,0.406" or "0.5"."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = [float(part) for part in str(value).split(",")]
        except ValueError:
            numbers = []
        if len(numbers) == 1:
            numbers *= 3
        if len(numbers) != 3:
            self.fail(f"{value!r} is neither one number nor three with commas", param, ctx)
        return numbers[0], numbers[1], numbers[2]


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("run_name", metavar="RUN", required=False)
@click.option("--name", help="Name of the model.  [default: the run's, or the file's]")
@click.option("--licence", default="", help="Licence of the training images and their attribution; the page shows it.")
@click.option("--compact", is_flag=True, help="Store weights in half precision: half the size, computed as before.")
@click.option(
    "--from-onnx",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Instead of a run: a foreign encoder. Search works with it, morphing does not.",
)
@click.option("--size", type=click.IntRange(1, 4096), help="Foreign encoder: side of its input, pixels.")
@click.option("--mean", type=Triple(), default="0", help="Foreign encoder: mean of its input, of 0 to 1.")
@click.option("--std", type=Triple(), default="1", help="Foreign encoder: standard deviation of its input, of 0 to 1.")
@click.option("--input-name", help="Foreign encoder: its input.  [default: the only one]")
@click.option("--output-name", help="Foreign encoder: the output that becomes the embedding.  [default: the only one]")
@click.option("--layout", type=click.Choice(["nchw", "nhwc"]), help="Foreign encoder: order of its input's axes.")
@common_options
def export(
    line: CommandLine,
    run_name: str | None,
    name: str | None,
    licence: str,
    compact: bool,
    from_onnx: Path | None,
    size: int | None,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    input_name: str | None,
    output_name: str | None,
    layout: str | None,
) -> None:
    """Export a run as a bundle of ONNX graphs."""
    if (run_name is None) == (from_onnx is None):
        raise SettingsError("give either a RUN or --from-onnx FILE.")
    if run_name is not None:
        bundle = _export_run(line, run_name, name, licence, compact=compact)
    else:
        assert from_onnx is not None  # noqa: S101  (for the type checker: just compared)
        if size is None:
            raise SettingsError("--from-onnx needs --size: the side of the encoder's input in pixels.")
        try:
            from export.foreign import ForeignEncoder, export_foreign
        except ImportError as error:
            raise SettingsError(
                f"wrapping an encoder needs the package onnx ({error}): pip install onnx, or 'lookalike[train]'."
            ) from error
        foreign = ForeignEncoder(
            file=from_onnx,
            size=size,
            mean=mean,
            std=std,
            input_name=input_name,
            output_name=output_name,
            layout=layout,
        )
        place = line.workspace.place("models", name or from_onnx.stem)
        bundle = export_foreign(foreign, place, licence=licence, reporter=line.reporter)
    line.result({"folder": str(bundle.folder)} | bundle.info(), _summary(bundle))


def _export_run(line: CommandLine, run_name: str, name: str | None, licence: str, *, compact: bool) -> "Bundle":
    from train.run import Run

    run = Run.open(line.workspace.existing("runs", run_name))
    try:
        from export.onnx_export import export_run
    except ImportError as error:
        raise SettingsError(
            f"exporting a run needs PyTorch and onnx ({error}): pip install 'lookalike[train]'."
        ) from error
    if run.result is None:
        line.reporter.say("This run is not finished: its best network so far is exported.")
    place = line.workspace.place("models", name or run.name)
    return export_run(run, place, licence=licence, reporter=line.reporter, compact=compact)


def _summary(bundle: "Bundle") -> str:
    megabytes = sum(facts["bytes"] for facts in bundle.files.values()) / 1e6
    decoder = "with decoder" if bundle.has_decoder else "without decoder: search works, morphing does not"
    lines = [
        f"Model {bundle.folder}: {bundle.preprocessing.size} px, {bundle.dims} dimensions, {decoder}, "
        f"{'/'.join(bundle.variants)}, {megabytes:.1f} MB."
    ]
    lines += [
        f"  {variant}: embedding differs by at most {parity['embedding_difference']:.1e} from PyTorch "
        f"(cosine {parity['embedding_cosine']:.6f}), pixels by {parity['pixel_difference']} of 255."
        for variant in bundle.variants
        if (parity := bundle.facts.parity.get(variant))
    ]
    quality = bundle.quality
    if quality.get("test_mse") is not None:
        pca = quality.get("pca_test_mse")  # nobody can say it of fewer pictures than numbers
        beside = "" if pca is None else f" (principal components alone: {pca:.5f})"
        lines.append(f"  Unseen pictures come back with a mean squared error of {quality['test_mse']:.5f}{beside}.")
    lines.append(f"Next: lookalike index add GALLERY FOLDER --model {bundle.folder.name}")
    return "\n".join(lines)
