"""Settings of a training run. Free of PyTorch: the command line takes its defaults from here."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from train.errors import SettingsError

SIZE_STEP = 16  # px; the network halves an image four times
SMALLEST_SIZE, LARGEST_SIZE = 16, 512  # px
DEFAULT_EPOCHS = 40

Precision = Literal["auto", "fp32", "bf16"]
Mirror = Literal["auto", "yes", "no"]

# What a resumed run may be given anew: it changes what the run costs or when it ends, not what it learns from.
_FREE_TO_CHANGE = {"epochs", "minutes", "checkpoint_seconds", "device", "threads", "precision"}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one training run; saved with it."""

    image_size: int = 64  # px, a multiple of 16
    dims: int = 256  # of the latent; fewer where the images do not support as many
    semantic_dims: int = 0  # of them that say what is shown; 0 until the similarity losses train them
    widths: tuple[int, ...] = (32, 64, 128)  # channels of the branches, finest grid first; multiples of 16 are fast
    alpha: float = 0.25  # weight of the pixel half in the embedding, where there is a semantic one
    mirror: Mirror = "auto"  # an image and its mirror image are the same; auto: where that fits held-out images

    epochs: int | None = None  # passes over the images; None: DEFAULT_EPOCHS, or what fits into `minutes`
    minutes: float | None = None  # budget of the training itself
    batch: int = 64
    learning_rate: float = 1e-3  # peak; warm-up, then half a cosine
    linear_rate: float = 0.02  # of it, for the linear skip, whose weights are already good
    linear_frozen: float = 1 / 3  # share of the steps in which the linear skip stays as it is
    warm_up: float = 0.05  # share of the steps
    weight_decay: float = 5e-4
    averaging: float = 0.02  # share of the steps over which weights are averaged (EMA)
    structure_weight: float = 0.05  # of 1 - MS-SSIM
    edge_weight: float = 0.02  # of the L1 distance of Laplacian pyramids
    final: float = 0.2  # share of the steps, the last ones, with MSE alone and exact codes
    code_noise: float = 0.02  # standard deviation added to a code, in deviations of each dimension

    seed: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = None  # None: as many as there are cores
    validation_share: float = 0.05  # of the images: choose the checkpoint
    test_share: float = 0.05  # of the images: neither trained on nor used to choose
    checkpoint_seconds: float = 30.0  # at most this much work is lost with a kill

    def __post_init__(self) -> None:
        check_image_size(self.image_size)
        if self.dims <= self.semantic_dims:
            raise SettingsError(f"dims is {self.dims}: it must be more than semantic_dims, {self.semantic_dims}.")
        if self.epochs is not None and self.minutes is not None:
            raise SettingsError("epochs and minutes are both given: give one of them.")

    def to_json(self) -> dict[str, Any]:
        """All settings, for run.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "TrainConfig":
        """Read what `to_json` gave; settings of a later version that are not known are left out."""
        known = {field.name for field in fields(cls)} & stored.keys()
        settings = {name: stored[name] for name in known}
        return cls(**{**settings, "widths": tuple(settings.get("widths", cls.widths))})

    def differences(self, other: "TrainConfig") -> list[str]:
        """Settings that a run cannot change on its way and that differ: 'dims (256, now 128)'."""
        return [
            f"{field.name} ({getattr(self, field.name)}, now {getattr(other, field.name)})"
            for field in fields(self)
            if field.name not in _FREE_TO_CHANGE and getattr(self, field.name) != getattr(other, field.name)
        ]


def check_image_size(size: int) -> None:
    """Refuse an image size that the network cannot halve four times.

    Raises:
        SettingsError: It is not a multiple of 16, or out of range; the message names the nearest ones.
    """
    if size % SIZE_STEP == 0 and SMALLEST_SIZE <= size <= LARGEST_SIZE:
        return
    below = min(max(size // SIZE_STEP * SIZE_STEP, SMALLEST_SIZE), LARGEST_SIZE)
    above = min(max(below + SIZE_STEP, SMALLEST_SIZE), LARGEST_SIZE)
    nearest = f"{below} or {above}" if SMALLEST_SIZE < size < LARGEST_SIZE else f"{below}"
    raise SettingsError(
        f"image_size is {size}, but the network halves it 4 times: use a multiple of {SIZE_STEP} from {SMALLEST_SIZE} "
        f"to {LARGEST_SIZE}, for example {nearest}."
    )
