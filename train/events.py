"""What a run shows to people while it learns: TensorBoard events, contact sheets, some of them for good, curves."""

import io
import time
from collections.abc import Mapping
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from train.architectures import Autoencoder
from train.curves import draw_curves
from train.figures import SEED, corrupt
from train.files import write_file
from train.images import Pixels
from train.recipe import Recipe
from train.run import Run
from train.sheets import morph_sheet, neighbour_sheet, reconstruction_sheet

SHOWN = 10  # images on the reconstruction sheet; half as many morphs and neighbour rows
NEIGHBOUR_POOL = 1000  # training images that neighbours are looked for among
MOMENTS = 12  # of a training, whose reconstructions are kept, beside that of its end
LARGEST_SHARE = 0.03  # of the training time that sheets may take


class Showcase:
    """Writes `events/`, `sheets/` and `curves.png` of a run; nothing that is learnt depends on it."""

    def __init__(
        self,
        run: Run,
        held_out: NDArray[np.int64],
        training: NDArray[np.int64],
        *,
        recipe: Recipe,
        step: int,
        pca_mse: float | None,
    ) -> None:
        """Open the event file.

        Args:
            run: Whose folder is written.
            held_out: Rows of the images that are reconstructed, morphed and searched with.
            training: Rows of the images that neighbours are looked for among.
            recipe: Its corruptions are shown too.
            step: Where training begins or goes on: events after it, of an earlier start, are hidden.
            pca_mse: The number to beat, drawn beside the curves, where there is one.
        """
        self._run = run
        images = run.images
        self._shown: Pixels = images[_spread(held_out, SHOWN)]
        self._pool: Pixels = images[_spread(training, NEIGHBOUR_POOL)]
        self._seen = _corrupted(self._shown, recipe) if recipe.corruption else None
        self._pca_mse = pca_mse
        self._moments = Moments(run, step)
        self._writer = SummaryWriter(str(run.path("events")), purge_step=step + 1 if step else None)
        self.seconds = 0.0  # spent here

    def __enter__(self) -> "Showcase":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def scalars(self, kind: str, values: Mapping[str, float], step: int) -> None:
        """Show one line of metrics in TensorBoard."""
        for name, value in values.items():
            self._writer.add_scalar(f"{name}/{kind}", value, step)

    def show_if_cheap(self, network: Autoencoder, step: int, elapsed: float) -> None:
        """Show sheets, unless they have had their share of the seconds that have passed."""
        if self.seconds <= LARGEST_SHARE * elapsed:
            self.show(network, step)

    def show(self, network: Autoencoder, step: int) -> None:
        """Write all sheets, as PNG and to TensorBoard, and the curves."""
        began = time.monotonic()
        half = self._shown[: max(2, SHOWN // 2 // 2 * 2)]
        sheets = {"reconstructions": reconstruction_sheet(network, self._shown, self._seen)}
        if self._seen is None:
            if len(self._shown) > 1:
                sheets["morphs"] = morph_sheet(network, self._shown)
            sheets["neighbours"] = neighbour_sheet(network, half, self._pool)
        for name, sheet in sheets.items():
            self._writer.add_image(name, sheet, step, dataformats="HWC")
            write_file(self._run.path("sheets") / f"{name}.png", _png(sheet))
        self._moments.keep(step, _png(sheets["reconstructions"]))
        draw_curves(self._run.metrics(), self._pca_mse, self._run.path("curves.png"))
        self._writer.flush()
        self.seconds += time.monotonic() - began


class Moments:
    """What a run painted at moments of its training, evenly over its steps, the first and the last among them.

    A picture is there whole or not at all. What an earlier start painted behind the step from which a run goes on is
    removed: it is painted again.
    """

    def __init__(self, run: Run, step: int) -> None:
        """Look at what an earlier start has kept.

        Args:
            run: Whose folder is written.
            step: Where training begins or goes on.
        """
        self._run = run
        self._steps = run.plan.steps if run.plan else 0
        for kept in run.moments():
            if kept > step:
                run.moment(kept).unlink(missing_ok=True)

    def keep(self, step: int, image: bytes) -> None:
        """Keep a sheet (PNG), if none is of its part of the training yet."""
        if all(self._part(step) != self._part(kept) for kept in self._run.moments()):
            write_file(self._run.moment(step), image)

    def _part(self, step: int) -> int:
        """Which part of the training a step is in, from 0; the last step is a part of its own."""
        return step * MOMENTS // max(self._steps, 1)


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Up to `count` of the rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))]


def _corrupted(images: Pixels, recipe: Recipe) -> Pixels:
    """Images (n, h, w, 3) as the encoder is to see them, the same at every showing."""
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255
    seen = corrupt(x, recipe.corruption, torch.Generator().manual_seed(SEED))
    return (seen.clamp(0, 1).permute(0, 2, 3, 1) * 255).round().byte().numpy()


def _png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
