"""Training of the trunk without labels: views of one image are to agree, different images are not.

Two objectives. `contrast`: each view is to be nearer to the mean of its siblings than to any other image of the batch;
it learns fast and does not collapse. `bootstrap`: a predictor is to guess the mean of what an averaged copy of the
network says of the other views, and a log-determinant and the distance to the nearest other image keep the code spread
out; it is better in the end, given hundreds of epochs.

What a step does follows from the recipe, the seed and its number alone, so that a run goes on where it was.

Sources: decoupled contrast: arXiv 2110.06848. Averaged targets: FastSiam, arXiv 2204.05473; the averaged copy: BYOL,
arXiv 2006.07733. Log-determinant: total coding rate, arXiv 2202.05411. Nearest other image: KoLeo, arXiv 1806.03198.
"""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.architectures.autoencoder import unit
from train.architectures.similarity import Trunk
from train.data import Data, evenly
from train.errors import UserError
from train.recipe import Recipe
from train.run import Plan
from train.views import WEAK

HIDDEN, PROJECTED = 512, 128  # widths of the projector and of what comes out of it
CODING_EPSILON = 0.2  # of the total coding rate: the size below which differences do not count
PROBE_IMAGES = 512  # by which collapse is looked for
MIN_RANK = 4.0  # effective rank (RankMe) of the features, below which they have collapsed
MIN_SPREAD = 1e-3  # mean deviation of features of length 1, over 1/sqrt(features)


class CollapsedError(UserError):
    """All images look the same to the trunk."""


@dataclass
class TrunkLearner:
    """Everything that changes while the trunk is trained; it learns in place."""

    recipe: Recipe
    plan: Plan
    data: Data
    trunk: Trunk
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = self.recipe.semantic
        self.device = torch.device(self.plan.device)
        self.batch = min(self.settings.batch, len(self.data.train))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.training.seed + 2)
            self.projector = _perceptron(self.trunk.features)
            self.predictor = _perceptron(PROJECTED) if self.bootstraps else None
        # Its modules are fixed as part of the network; here they move.
        self.trunk.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.online = nn.Sequential(self.trunk, self.projector).to(self.device).train().requires_grad_(True)
        self.target = copy.deepcopy(self.online).requires_grad_(False) if self.bootstraps else None
        parts = [self.online, self.predictor.to(self.device)] if self.predictor else [self.online]
        decayed = [p for part in parts for p in part.parameters() if p.ndim > 1]
        others = [p for part in parts for p in part.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay, fused=True)

    @property
    def bootstraps(self) -> bool:
        """Whether the objective is `bootstrap`."""
        return self.settings.objective == "bootstrap"

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the images."""
        return len(self.data.train) // self.batch

    @property
    def learning_rate(self) -> float:
        """Rate at this step: linear warm-up, then half a cosine."""
        steps = self.plan.trunk_steps
        warm_up = max(1, round(self.settings.warm_up * steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / steps))
        return self.settings.learning_rate * min(1.0, (self.step + 1) / warm_up) * cosine

    def take_step(self) -> None:
        """Learn from views of one batch.

        Raises:
            CollapsedError: The loss is no number any more.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate
        random = torch.Generator().manual_seed(self.recipe.training.seed * 1_000_003 + 500_000_009 + self.step)
        views = self.views(random)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16"):
            projected = self.online(torch.cat(views))
        projections = torch.stack(projected.float().chunk(len(views)))
        loss = self._bootstrap(views, projections) if self.target else contrast(projections, self.settings.temperature)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CollapsedError(
                f"the loss of the trunk became {value} at step {self.step:,}: train again with --fresh and a lower "
                "--set semantic.learning_rate, or with the recipe patches, which trains nothing."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._average()
        self.step += 1
        self.sums["steps"] = self.sums.get("steps", 0.0) + 1
        self.sums["agreement_loss"] = self.sums.get("agreement_loss", 0.0) + value

    def views(self, random: torch.Generator) -> list[Tensor]:
        """Views of the images of this step, each (batch, 3, h, w)."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        order = torch.randperm(
            len(self.data.train), generator=torch.Generator().manual_seed(self.recipe.training.seed * 7919 + epoch)
        ).numpy()
        x = self.data.tensor(self.data.train[order[place * self.batch :][: self.batch]], self.device)
        kinds = [self.settings.augmentation] * self.settings.views + [WEAK] * self.settings.weak
        return [kind(x, random, mirror=self.plan.mirror) for kind in kinds]

    def _bootstrap(self, views: list[Tensor], projections: Tensor) -> Tensor:
        """Distance of predictions from averaged targets, less what spreads the code."""
        assert self.target is not None and self.predictor is not None  # noqa: S101  (the objective says so)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16"):
            targets = torch.stack(self.target(torch.cat(views)).float().chunk(len(views)))
        predictions = torch.stack(self.predictor(projections.flatten(0, 1)).chunk(len(views)))
        others = (targets.sum(0) - targets) / (len(views) - 1)
        agreement = F.cosine_similarity(predictions, others, dim=-1).mean(1)
        spread = torch.stack([coding_rate(each) for each in projections]).mean()
        distance = torch.stack([nearest_distance(each) for each in projections]).mean()
        loss: Tensor = (2 - 2 * agreement).sum() - self.settings.spread * spread - self.settings.distance * distance
        return loss

    @torch.no_grad()
    def _average(self) -> None:
        if self.target is None:
            return
        progress = self.step / self.plan.trunk_steps
        kept = 1 - (1 - self.settings.averaging) * (1 + math.cos(math.pi * progress)) / 2
        torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), 1 - kept)

    @torch.no_grad()
    def spread(self) -> dict[str, float]:
        """Effective rank and deviation of the trunk's features on some images, which fall when they collapse."""
        self.trunk.eval()
        x = self.data.tensor(evenly(self.data.validation, PROBE_IMAGES), self.device)
        features = torch.cat([self.trunk(part).float() for part in torch.split(x, 128)])
        self.trunk.train()
        deviation = float(unit(features).std(0).mean()) * features.shape[1] ** 0.5
        return {"rank": effective_rank(features - features.mean(0)), "deviation": deviation}

    def expect_spread(self) -> dict[str, float]:
        """The same; a trunk that has collapsed is not gone on with.

        Raises:
            CollapsedError: It has.
        """
        found = self.spread()
        images = min(len(self.data.validation), PROBE_IMAGES)
        if found["rank"] < min(MIN_RANK, images / 2, self.trunk.features / 8) or found["deviation"] < MIN_SPREAD:
            raise CollapsedError(
                f"the trunk has collapsed: to it all images look the same (effective rank {found['rank']:.1f}, "
                f"deviation {found['deviation']:.4f}). Train again with --fresh and --set semantic.objective=contrast, "
                "which does not collapse, or with the recipe patches, which trains nothing."
            )
        return found

    def finish(self) -> None:
        """Put the trunk into evaluation mode, fixed."""
        self.trunk.eval().requires_grad_(False)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        return {
            "online": self.online.state_dict(),
            "target": self.target.state_dict() if self.target else None,
            "predictor": self.predictor.state_dict() if self.predictor else None,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "sums": self.sums,
        }

    def restore(self, stored: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.online.load_state_dict(stored["online"])
        if self.target is not None and self.predictor is not None:
            self.target.load_state_dict(stored["target"])
            self.predictor.load_state_dict(stored["predictor"])
        self.optimiser.load_state_dict(stored["optimiser"])
        self.step, self.sums = stored["step"], dict(stored["sums"])


def _perceptron(width: int) -> nn.Sequential:
    """Two layers with BatchNorm between, to `PROJECTED` numbers."""
    return nn.Sequential(
        nn.Linear(width, HIDDEN, bias=False),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, PROJECTED),
    )


def contrast(projections: Tensor, temperature: float) -> Tensor:
    """Decoupled contrast of views (v, n, dims) with the mean of their siblings, against all other images.

    L = mean over views of log sum over other images exp(cos / T) - cos(view, mean of its siblings) / T.
    """
    views, count = projections.shape[:2]
    z = F.normalize(projections, dim=-1)
    siblings = F.normalize(z.sum(0) - z, dim=-1)
    alike = (z * siblings).sum(-1) / temperature
    flat = z.flatten(0, 1)
    scores = flat @ flat.T / temperature
    image = torch.arange(count, device=z.device).repeat(views)
    scores = scores.masked_fill(image[:, None] == image[None, :], -math.inf)
    return (torch.logsumexp(scores, dim=1) - alike.flatten()).mean()


def coding_rate(z: Tensor) -> Tensor:
    """Total coding rate of rows (n, dims), scaled to length 1: 1/2 log det(I + dims / (n eps^2) Z'Z), over dims."""
    rows = F.normalize(z, dim=1)
    count, dims = rows.shape
    gram = rows.T @ rows * (dims / (count * CODING_EPSILON**2))
    rate: Tensor = torch.linalg.slogdet(torch.eye(dims, device=z.device) + gram)[1] / (2 * dims)
    return rate


def nearest_distance(z: Tensor) -> Tensor:
    """Mean logarithm of the distance of each row (n, dims), scaled to length 1, to the nearest other."""
    rows = F.normalize(z, dim=1)
    with torch.no_grad():
        nearest = (rows @ rows.T).fill_diagonal_(-2).argmax(1)
    return torch.log((rows - rows[nearest]).norm(dim=1) + 1e-6).mean()


def effective_rank(centred: Tensor) -> float:
    """Exponential of the entropy of the singular values (RankMe, arXiv 2210.02885)."""
    values = torch.linalg.svdvals(centred.double())
    shares = values / values.sum().clamp_min(1e-12)
    return float(torch.exp(-(shares * (shares + 1e-12).log()).sum()))
