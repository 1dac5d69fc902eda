"""One step of training, and everything that changes while it goes on.

What a step does follows from the recipe, the seed and the number of the step alone. So a run that was killed and goes
on from its last checkpoint ends with the weights of an undisturbed one (with as many threads on the same machine).
"""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.architectures import Autoencoder
from train.architectures.similarity import SimilarityAutoencoder
from train.constraints import Situation
from train.corruptions import damage
from train.data import Data, Rows, batches, evenly
from train.errors import UserError
from train.figures import (
    FIGURE_IMAGES,
    changed_pixels,
    constraint_figures,
    corrupt,
    feature_distance,
    latents_of,
    squared_error,
)
from train.losses import clip_straight_through
from train.mixtures import on_the_way
from train.recipe import Recipe
from train.run import Plan, Run

EVALUATION_IMAGES = 1000  # of the validation images, at most, at each evaluation
EVALUATIONS = 50  # in a run, at most
EVALUATION_SPACING = 10  # images learnt from for each one evaluated: evaluation then takes about 5 % of the time
CENTRE_IMAGES = 1000  # of the training images, that codes are centred on
SMALLEST_UNIT = 1e-4  # of the loss: a code that loses next to nothing is not magnified without end
MIXED = 4  # one in so many codes is mixed
LEARNT_RATE = 0.2  # of the learning rate, for weights that another model has learnt (docs/decisions/0016)
CRITIC_RATE = 0.5  # of the learning rate, for a network that is trained against ours


class DivergedError(UserError):
    """The loss is no number any more."""


@dataclass
class Learner:
    """Everything that changes while training goes on."""

    recipe: Recipe
    plan: Plan
    data: Data
    network: Autoencoder
    averaged: Autoencoder = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)
    step: int = 0
    best_step: int = 0
    best_mse: float = math.inf
    best_error: float = math.inf  # what the best weights were chosen by: see `evaluate`
    best_weights: dict[str, Tensor] | None = None  # not yet written; None where best.pt has them
    semantic_half: Tensor | None = None  # of the codes of all training images, (n, semantic_dims), once it is known
    sums: dict[str, float] = field(default_factory=dict)  # since the last line of metrics.jsonl

    def __post_init__(self) -> None:
        self.device = torch.device(self.plan.device)
        self.settings = self.recipe.training
        self.network = self.network.to(self.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.linear = self.network.linear_parameters()
        linear = {id(parameter) for parameter in self.linear}
        others = [parameter for parameter in self.network.parameters() if id(parameter) not in linear]
        groups = [{"params": others, "rate": 1.0}, {"params": self.linear, "rate": self.settings.linear_rate}]
        self.optimiser = self._make_optimiser([group for group in groups if group["params"]])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed + 1)
            self.critics = [each.critic(self.network) for each in self.recipe.constraint]
        self.critics = [critic.to(self.device) if critic else None for critic in self.critics]
        weights = [parameter for critic in self.critics if critic for parameter in critic.parameters()]
        self.critic_optimiser = torch.optim.Adam(weights, betas=(0.5, 0.99)) if weights else None

    def _make_optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        decay = self.settings.weight_decay
        match self.settings.optimiser:
            case "adamw":
                return torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=decay, fused=True)
            case "adam":
                return torch.optim.Adam(groups, weight_decay=decay, fused=True)
            case "adamax":
                return torch.optim.Adamax(groups, weight_decay=decay)
            case "sgd":
                return torch.optim.SGD(groups, lr=1e-3, momentum=0.9, weight_decay=decay, fused=True)

    # --- one step -------------------------------------------------------------------------------------------------

    def take_step(self) -> None:
        """Learn from one batch.

        Raises:
            DivergedError: The loss is not finite; the weights are still those of the step before.
        """
        progress = self.step / self.plan.steps
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * group["rate"]
        for parameter in self.linear:
            parameter.requires_grad_(progress >= self.settings.linear_frozen)
        random = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.step)
        x, places = self._batch(random)
        terms = self._terms(x, places, random, plain=progress >= 1 - self.recipe.loss.plain)
        value = float(terms["loss"].detach())
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss became {value} at step {self.step:,}, so training stopped there: the best network up "
                "to it is kept and can be exported. Train again with --fresh and a lower --learning-rate."
            )
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        self._move_critics()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._average()
        self.step += 1
        self.sums["steps"] = self.sums.get("steps", 0.0) + 1
        for name, amount in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(amount.detach())

    @property
    def learning_rate(self) -> float:
        """Rate of the branches at this step: linear warm-up, then half a cosine or none."""
        warm_up = max(1, round(self.settings.warm_up * self.plan.steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.plan.steps))
        rate = self.settings.learning_rate * min(1.0, (self.step + 1) / warm_up)
        rate *= LEARNT_RATE if self.plan.pixel_half_from_start else 1.0
        return rate * cosine if self.settings.schedule == "cosine" else rate

    def _batch(self, random: torch.Generator) -> tuple[Tensor, Rows]:
        """The images of this step, and their places among the training images."""
        epoch, place = divmod(self.step, self.plan.steps_per_epoch)
        order = _order(self.settings.seed, epoch, len(self.data.train))
        places = order[place * self.plan.batch :][: self.plan.batch]
        x = self.data.tensor(self.data.train[places], self.device)
        if self.plan.mirror:
            turned = torch.rand(len(x), generator=random) < 0.5
            x = torch.where(turned[:, None, None, None].to(self.device), x.flip(3), x)
        return x, places

    def _terms(self, x: Tensor, places: Rows, random: torch.Generator, *, plain: bool) -> dict[str, Tensor]:
        """What is minimised, `loss`, and its parts that are reported."""
        self._critic_losses: list[Tensor] = []
        stage = self._pretraining_stage()
        if stage is not None:
            mse = self.network.pretraining_loss(stage, x)
            return {"loss": mse, "pretraining": mse.detach()}
        seen = self._seen(x, random)
        if any(constraint.wants_gradient for constraint in self.recipe.constraint):
            seen = seen.detach().requires_grad_(True)
        with self._autocast():
            statistics = self._statistics(seen, places)
            latent = statistics[:, : self.network.latent_dims]
            for constraint in self.recipe.constraint:
                latent = constraint.draw(statistics, random) if constraint.outputs == 2 else latent
            noisy = latent if plain else latent + self._code_noise(latent, random)
            painted = clip_straight_through(self.network.paint(noisy))
        target = self.network.show(self.network.see(x))
        changed = changed_pixels(seen, x) if self.recipe.loss.changed else None
        terms = {"mse": (painted.detach() - target).square().mean()}
        # In units of PCA's error, so that one learning rate suits all images.
        loss = self.recipe.loss(painted, target, changed, plain=plain) / self.unit
        if self.recipe.loss.features and not plain:
            terms["features"] = self._feature_distance(painted, target)
            loss = loss + self.recipe.loss.features * terms["features"] / self.unit
        for constraint, critic in zip(self.recipe.constraint, self.critics, strict=True):
            situation = Situation(self.network, seen, statistics.float(), latent.float(), random, critic)
            penalty = constraint.penalty(situation)
            loss = loss + penalty / self.unit
            terms[constraint.kind] = penalty.detach()
            if critic is not None:
                self._critic_losses.append(constraint.critic_loss(situation))
        if self.settings.mixing and not plain:
            terms["mixing"] = self._mixing(latent.float(), random)
            loss = loss + self.settings.mixing * terms["mixing"]
        return {"loss": loss, **terms}

    def _seen(self, x: Tensor, random: torch.Generator) -> Tensor:
        """The images as the encoder sees them: all corrupted as the recipe says, or the last of them damaged."""
        if self.settings.denoising:
            return damage(x, self.settings.denoising, random, self.recipe.damages)
        return corrupt(x, self.recipe.corruption, random)

    def _statistics(self, seen: Tensor, places: Rows) -> Tensor:
        """What the encoder says; a semantic half is fixed, so that its numbers are found once and not at every step.

        Those of an image stand for its mirror image, too: the half is made to find them alike.
        """
        if not isinstance(self.network, SimilarityAutoencoder) or self.recipe.corruption:
            return self.network.statistics(seen)
        if self.semantic_half is None:
            parts = [self.network.semantic(self.data.tensor(rows, self.device)) for rows in batches(self.data.train)]
            self.semantic_half = torch.cat(parts)
        known = self.semantic_half[torch.from_numpy(places).to(self.device)]
        return torch.cat([known, self.network.pixel_half(seen)], dim=1)

    def _mixing(self, latent: Tensor, random: torch.Generator) -> Tensor:
        """How far mixtures of two codes are from the codes of what they paint, as a share of the codes' mean square.

        Of the pixel half, which follows the picture closely; the semantic half of a mixture is nobody's (of weights
        that would have it come back, docs/benchmarks.md has the figures). A quarter of the batch is mixed with its
        neighbour, on the way that morphs take. Where this is small, a morph stays among images that the encoder
        knows; no second network has to judge them.
        """
        count = max(1, len(latent) // MIXED)
        share = torch.rand((count, 1), generator=random).to(self.device)
        mixed = on_the_way(latent[:count], latent.roll(1, 0)[:count], share, self.network.semantic_dims).detach()
        with self._autocast():
            again = self.network.pixel_half(clip_straight_through(self.network.paint(mixed)))
        wanted = mixed[:, self.network.semantic_dims :]
        return (again.float() - wanted).square().mean() / wanted.square().mean().clamp_min(1e-6)

    def _feature_distance(self, painted: Tensor, target: Tensor) -> Tensor:
        assert isinstance(self.network, SimilarityAutoencoder)  # noqa: S101  (the recipe refused others)
        with self._autocast():
            return self.network.semantic.distance(painted, target)

    @property
    def unit(self) -> float:
        """What the loss is divided by."""
        return max(self.plan.pca_validation_mse or 0.0, SMALLEST_UNIT)

    def _pretraining_stage(self) -> int | None:
        """The part of the network that is trained alone at this step; None where it is the whole."""
        stages = self.network.pretraining_stages
        steps = int(self.settings.pretraining * self.plan.steps) // max(stages, 1)
        return self.step // steps if stages and steps and self.step < stages * steps else None

    def _move_critics(self) -> None:
        """One step of the networks that are trained against ours, after ours has been judged by them."""
        if self.critic_optimiser is None or not self._critic_losses:
            return
        for group in self.critic_optimiser.param_groups:
            group["lr"] = CRITIC_RATE * self.learning_rate
        self.critic_optimiser.zero_grad()  # of what judging ours left there
        torch.stack(self._critic_losses).sum().backward()  # type: ignore[no-untyped-call]
        self.critic_optimiser.step()

    def _code_noise(self, latent: Tensor, random: torch.Generator) -> Tensor:
        """Noise that a stored, quantised or morphed code should be robust to."""
        if not self.settings.code_noise:
            return torch.zeros((), device=self.device)
        if self.network.semantic_dims:
            semantic = torch.ones(self.network.semantic_dims, device=self.device)
            scale = torch.cat([semantic, self.network.deviation])
        else:
            scale = self.network.deviation
        return torch.randn(latent.shape, generator=random).to(self.device) * self.settings.code_noise * scale

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16")

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average of the weights, over fewer steps at the beginning."""
        horizon = max(10.0, min(self.step + 1.0, self.settings.averaging * self.plan.steps))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 / horizon)

    # --- measuring ------------------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Figures of the averaged weights on the validation images; those with the least error are kept as the best.

        Where features judge too, their distance belongs to that error: a sharp decoder is a little further from the
        pixels from its first step on, and would never be chosen by them alone.
        """
        for averaged, latest in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            averaged.copy_(latest)
        rows = evenly(self.data.validation, EVALUATION_IMAGES)
        mse = squared_error(self.averaged, self.data, rows, self.recipe)
        figures = {"mse": mse}
        if self.recipe.loss.features:
            figures["features"] = feature_distance(self.averaged, self.data, evenly(rows, FIGURE_IMAGES))
        error = mse + self.recipe.loss.features * figures.get("features", 0.0)
        if error < self.best_error:
            self.best_error, self.best_mse, self.best_step = error, mse, self.step
            self.averaged.centre_on(latents_of(self.averaged, self.data, evenly(self.data.train, CENTRE_IMAGES)))
            self.best_weights = {name: value.clone() for name, value in self.averaged.state_dict().items()}
        return {**figures, **self.constraint_figures(self.averaged, rows)}

    def constraint_figures(self, network: Autoencoder, rows: Rows) -> dict[str, float]:
        """The own quantities of the constraints on some images."""
        return constraint_figures(network, self.data, evenly(rows, FIGURE_IMAGES), self.recipe, self.critics)

    @property
    def steps_between_evaluations(self) -> int:
        """Whole epochs, or parts of one where it is long; at most `EVALUATIONS` in a run, and few beside the steps."""
        images = min(len(self.data.validation), EVALUATION_IMAGES)
        spacing = max(1, self.plan.steps // EVALUATIONS, math.ceil(EVALUATION_SPACING * images / self.plan.batch))
        epoch = self.plan.steps_per_epoch
        return math.ceil(spacing / epoch) * epoch if epoch < 4 * spacing else spacing

    # --- saving ---------------------------------------------------------------------------------------------------

    def save(self, run: Run) -> None:
        """Write the best network, if it is new, and then everything needed to go on from here."""
        self.save_best(run)
        state = {
            "weights": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "critics": [critic.state_dict() if critic else None for critic in self.critics],
            "critic_optimiser": self.critic_optimiser.state_dict() if self.critic_optimiser else None,
            "step": self.step,
            "best_step": self.best_step,
            "best_mse": self.best_mse,
            "best_error": self.best_error,
            "sums": self.sums,
        }
        run.save("checkpoint.pt", state)

    def save_best(self, run: Run) -> None:
        """Write the best network, if it is not on disk yet."""
        if self.best_weights is not None:
            run.save("best.pt", {"weights": self.best_weights, "step": self.best_step, "validation_mse": self.best_mse})
            self.best_weights = None

    def restore(self, stored: dict[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.network.load_state_dict(stored["weights"])
        self.averaged.load_state_dict(stored["averaged"])
        self.optimiser.load_state_dict(stored["optimiser"])
        for critic, state in zip(self.critics, stored["critics"], strict=True):
            if critic is not None:
                critic.load_state_dict(state)
        if self.critic_optimiser is not None:
            self.critic_optimiser.load_state_dict(stored["critic_optimiser"])
        self.step, self.best_step, self.best_mse = stored["step"], stored["best_step"], stored["best_mse"]
        self.best_error = stored.get("best_error", self.best_mse)  # as it was before features had a say
        self.sums = dict(stored["sums"])


def new_network(recipe: Recipe) -> Autoencoder:
    """The network of a recipe with the random weights of its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        return recipe.build()


def _order(seed: int, epoch: int, count: int) -> Rows:
    """Order of the training images in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(count)
