"""What a recipe can ask of the code, besides that the picture comes back.

A constraint is a frozen dataclass: its fields are the keys of [[constraint]] in a recipe, its methods what it costs and
what is measured of it. It is added here alone, with its name in `CONSTRAINTS`.

Penalties are means over the images, divided by the numbers of a picture where the theory sums over dimensions, so that
they stand beside a loss that is a mean over pixels: with binary cross-entropy and beta 1, loss + KL is the evidence
lower bound per pixel.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.architectures import Autoencoder
from train.errors import SettingsError

ACTIVE = 1e-2  # variance of a dimension's mean above which it says something (Burda, Grosse, Salakhutdinov 2015)
MEASURED_PROJECTIONS = 16  # for the figure of a contractive code that is trained by fewer
IN_USE = 0.1  # of the largest activation: a unit above it is counted as on


@dataclass(frozen=True)
class Situation:
    """One batch on its way through the network."""

    network: Autoencoder
    seen: Tensor  # (n, 3, h, w) what the encoder was given; with `wants_gradient`, a leaf
    statistics: Tensor  # (n, outputs * latent_dims)
    latent: Tensor  # (n, latent_dims) that is decoded
    random: torch.Generator  # on the CPU
    critic: nn.Module | None  # of the constraint, where it has one

    @property
    def pixels(self) -> int:
        """Numbers in one image, as the network sees it."""
        return self.network.channels * self.network.image_size**2


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """Base of the constraints: asks nothing."""

    kind: ClassVar[str] = ""
    outputs: ClassVar[int] = 1  # numbers that the encoder gives for one of the code
    prior: ClassVar[str] = ""  # distribution that codes are trained to have
    wants_gradient: ClassVar[bool] = False  # with regard to the input

    def draw(self, statistics: Tensor, random: torch.Generator) -> Tensor:
        """The code to decode in training, (n, latent_dims)."""
        return statistics

    def penalty(self, situation: Situation) -> Tensor:
        """What it costs, a scalar that is added to the loss."""
        raise NotImplementedError

    def critic(self, network: Autoencoder) -> nn.Module | None:
        """A second network that is trained against the first; None where there is none."""
        return None

    def critic_loss(self, situation: Situation) -> Tensor:
        """What the second network minimises."""
        raise NotImplementedError

    def figures(self, situation: Situation) -> dict[str, float]:
        """Its own quantity, measured on held-out images."""
        raise NotImplementedError


def _expect_positive(name: str, value: float) -> None:
    if not value > 0 or not math.isfinite(value):
        raise SettingsError(f"{name} is {value}: it must be more than 0.")


@dataclass(frozen=True, kw_only=True)
class L1(Constraint):
    """Few dimensions at work at a time: the mean absolute value of the code."""

    kind: ClassVar[str] = "l1"
    weight: float = 1e-3  # of the mean over dimensions

    def __post_init__(self) -> None:
        _expect_positive("constraint.weight", self.weight)

    def penalty(self, situation: Situation) -> Tensor:
        """Weight times the mean absolute value."""
        return self.weight * situation.latent.abs().mean()

    def figures(self, situation: Situation) -> dict[str, float]:
        """Mean absolute value, and how many dimensions are in use for an image."""
        return {"code_l1": float(situation.latent.detach().abs().mean()), "active_units": _in_use(situation.latent)}


@dataclass(frozen=True, kw_only=True)
class KLSparsity(Constraint):
    """Each unit is on for a small share of the images; needs codes from 0 to 1 (code_activation = "sigmoid").

    Source: Ng, CS294A lecture notes, "Sparse autoencoder".
    """

    kind: ClassVar[str] = "kl_sparsity"
    target: float = 0.05  # share of the images for which a unit is on
    weight: float = 1e-2  # of the mean over units

    def __post_init__(self) -> None:
        _expect_positive("constraint.weight", self.weight)
        if not 0 < self.target < 1:
            raise SettingsError(f"constraint.target is {self.target}: it must be between 0 and 1.")

    def penalty(self, situation: Situation) -> Tensor:
        """KL divergence of the mean activation of each unit from the target, in nats, averaged over units."""
        mean = situation.latent.mean(0).clamp(1e-4, 1 - 1e-4)
        rho = self.target
        divergence = rho * torch.log(rho / mean) + (1 - rho) * torch.log((1 - rho) / (1 - mean))
        return self.weight * divergence.mean()

    def figures(self, situation: Situation) -> dict[str, float]:
        """Mean activation, and how many units are in use for an image."""
        return {"mean_activation": float(situation.latent.detach().mean()), "active_units": _in_use(situation.latent)}


def _in_use(latent: Tensor) -> float:
    magnitude = latent.detach().abs()
    return float((magnitude > IN_USE * magnitude.max().clamp_min(1e-12)).float().sum(1).mean())


@dataclass(frozen=True, kw_only=True)
class Contractive(Constraint):
    """Small changes of the image change the code little: squared Frobenius norm of the encoder's Jacobian.

    Source: Rifai et al. 2011. With projections, by Hutchinson's estimate: for v of random signs, the mean of |v J|^2 is
    the squared norm; each costs one more pass backwards.
    """

    kind: ClassVar[str] = "contractive"
    wants_gradient: ClassVar[bool] = True
    weight: float = 1e-4  # of the squared norm, divided by the dimensions
    projections: int = 1  # random directions of the code; 0: exact, one pass for each dimension

    def __post_init__(self) -> None:
        _expect_positive("constraint.weight", self.weight)
        if self.projections < 0:
            raise SettingsError(f"constraint.projections is {self.projections}: it must be 0 (exact) or more.")

    def penalty(self, situation: Situation) -> Tensor:
        """Weight times the squared norm per dimension, averaged over the images."""
        return self.weight * self._squared_norm(situation, self.projections) / situation.network.latent_dims

    def figures(self, situation: Situation) -> dict[str, float]:
        """Frobenius norm of the Jacobian: root mean square over images."""
        projections = MEASURED_PROJECTIONS if self.projections else 0
        return {"jacobian_norm": math.sqrt(float(self._squared_norm(situation, projections).detach()))}

    def _squared_norm(self, situation: Situation, projections: int) -> Tensor:
        latent = situation.statistics[:, : situation.network.latent_dims]
        if projections:
            signs = torch.randint(0, 2, (projections, *latent.shape), generator=situation.random) * 2.0 - 1
            directions = list(signs.to(latent.device))
        else:
            directions = list(torch.eye(latent.shape[1], device=latent.device)[:, None].expand(-1, len(latent), -1))
        total = torch.zeros((), device=latent.device)
        for direction in directions:
            (gradient,) = torch.autograd.grad(
                latent, situation.seen, grad_outputs=direction.to(latent.dtype), create_graph=True
            )
            total = total + gradient.square().sum() / len(latent)
        return total / projections if projections else total


@dataclass(frozen=True, kw_only=True)
class Variational(Constraint):
    """The code is a normal distribution near N(0, 1), so that new pictures can be drawn.

    Source: Kingma, Welling 2013; beta: Higgins et al. 2017.
    """

    kind: ClassVar[str] = "variational"
    outputs: ClassVar[int] = 2
    prior: ClassVar[str] = "normal"
    beta: float = 1.0  # of KL per pixel; with squared error, twice the variance of a pixel

    def __post_init__(self) -> None:
        _expect_positive("constraint.beta", self.beta)

    def draw(self, statistics: Tensor, random: torch.Generator) -> Tensor:
        """Mean plus deviation times noise: the reparameterisation that lets gradients pass."""
        mean, log_variance = statistics.float().chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=random).to(mean.device)
        return mean + noise * torch.exp(0.5 * log_variance.clamp(-20, 20))

    def penalty(self, situation: Situation) -> Tensor:
        """Beta times the KL divergence from N(0, 1), per pixel."""
        return self.beta * self._divergence(situation.statistics).sum(1).mean() / situation.pixels

    def figures(self, situation: Situation) -> dict[str, float]:
        """KL in nats per image, and dimensions that say something."""
        mean = situation.statistics[:, : situation.network.latent_dims].detach()
        return {
            "kl": float(self._divergence(situation.statistics.detach()).sum(1).mean()),
            "active_units": float((mean.var(0) > ACTIVE).sum()),
        }

    def _divergence(self, statistics: Tensor) -> Tensor:
        """KL of each dimension from N(0, 1), in nats."""
        mean, log_variance = statistics.float().chunk(2, dim=1)
        log_variance = log_variance.clamp(-20, 20)
        return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


@dataclass(frozen=True, kw_only=True)
class Adversarial(Constraint):
    """Codes that a discriminator cannot tell from N(0, 1). Source: Makhzani et al. 2015."""

    kind: ClassVar[str] = "adversarial"
    prior: ClassVar[str] = "normal"
    weight: float = 1e-2  # of the encoder's part, -log D(code)
    width: int = 128  # units of the discriminator's two layers

    def __post_init__(self) -> None:
        _expect_positive("constraint.weight", self.weight)

    def critic(self, network: Autoencoder) -> nn.Module:
        """The discriminator: codes (n, latent_dims) to logits (n, 1)."""
        return nn.Sequential(
            nn.Linear(network.latent_dims, self.width),
            nn.LeakyReLU(0.2),
            nn.Linear(self.width, self.width),
            nn.LeakyReLU(0.2),
            nn.Linear(self.width, 1),
        )

    def penalty(self, situation: Situation) -> Tensor:
        """Weight times how sure the discriminator is."""
        assert situation.critic is not None  # noqa: S101  (for the type checker: `critic` gave one)
        return self.weight * F.softplus(-situation.critic(situation.latent.float())).mean()

    def critic_loss(self, situation: Situation) -> Tensor:
        """Cross-entropy of telling drawn codes from encoded ones."""
        encoded, drawn = self._verdicts(situation)
        return F.softplus(-drawn).mean() + F.softplus(encoded).mean()

    def figures(self, situation: Situation) -> dict[str, float]:
        """Share of right verdicts (0.5: it cannot tell), mean and deviation of the codes (0 and 1 when it succeeds)."""
        encoded, drawn = self._verdicts(situation)
        right = (encoded < 0).float().mean() + (drawn > 0).float().mean()
        return {
            "discriminator_accuracy": float(right.detach()) / 2,
            "code_mean": float(situation.latent.detach().mean()),
            "code_deviation": float(situation.latent.detach().std(0).mean()),
        }

    def _verdicts(self, situation: Situation) -> tuple[Tensor, Tensor]:
        assert situation.critic is not None  # noqa: S101
        encoded = situation.latent.detach().float()
        drawn = torch.randn(encoded.shape, generator=situation.random).to(encoded.device)
        return situation.critic(encoded), situation.critic(drawn)


CONSTRAINTS: dict[str, type[Constraint]] = {
    each.kind: each for each in (L1, KLSparsity, Contractive, Variational, Adversarial)
}
