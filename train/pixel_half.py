"""The pixel half of a code and the decoder that another model has learnt, to begin from instead of nothing.

What a decoder's branches have learnt is tied to the coordinates of its linear skip, so the two come together, and the
components of the new pictures stand back. Hardly anything of it depends on the semantic half, which is found anew
and in other numbers: the decoder listens to it from zero. docs/decisions/0016 has what else was tried.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.architectures.similarity import Similarity, SimilarityAutoencoder
from train.data import Data, Rows, batches, evenly
from train.learner import EVALUATION_IMAGES, new_network
from train.pca import PrincipalComponents
from train.recipe import Recipe

Arrays = Mapping[str, NDArray[Any]]

BRANCHES = ("widths", "patch", "linear_size", "refine", "blocks")  # settings that a recipe takes over with the weights
_ALIKE = ("dims", "semantic_dims", "clean", "noise")  # and those that must be the recipe's own
_PARTS = ("encoder.", "decoder.")  # of a `SimilarityAutoencoder`, and its buffer:
_KINDS = "antisymmetric"
CODES = 2000  # training images whose codes say how the numbers of the half are spread


@dataclass(frozen=True)
class PixelHalf:
    """The weights of the linear skip, of both branches and of the decoder, and what they belong to."""

    image_size: int  # px
    channels: int
    architecture: Mapping[str, Any]  # settings, `BRANCHES` among them
    weights: Arrays  # by the names of the network's `state_dict`

    @classmethod
    def of_network(cls, network: SimilarityAutoencoder, recipe: Recipe) -> "PixelHalf":
        """That of a trained network."""
        named = {key: value.detach().cpu().numpy() for key, value in network.state_dict().items()}
        return cls._of(recipe, {name: named[name] for name in named if _belongs(name)})

    @classmethod
    def of_graphs(cls, recipe: Recipe, initialisers: Arrays) -> "PixelHalf | None":
        """That of a model's ONNX graphs, whose initialisers keep the names that the weights had in the network.

        None where they do not hold it: the recipe is of another architecture, or a name is not there.
        """
        if not isinstance(recipe.architecture, Similarity):
            return None
        wanted = {key: value.shape for key, value in recipe.build().state_dict().items() if _belongs(key)}
        # Where nothing is antisymmetric, the exporter may leave out what is multiplied by zero.
        initialisers = {_KINDS: np.zeros(wanted[_KINDS], np.float32), **initialisers}
        if any(name not in initialisers or initialisers[name].shape != shape for name, shape in wanted.items()):
            return None
        return cls._of(recipe, {name: initialisers[name] for name in wanted})

    @classmethod
    def _of(cls, recipe: Recipe, weights: Arrays) -> "PixelHalf":
        settings = asdict(recipe.architecture)
        kept = {key: settings[key] for key in (*BRANCHES, *_ALIKE)}
        return cls(recipe.data.image_size, recipe.data.channels, kept, weights)

    def settings(self) -> dict[str, Any]:
        """All but the weights, for JSON."""
        return {"image_size": self.image_size, "channels": self.channels, "architecture": dict(self.architecture)}

    @classmethod
    def read(cls, settings: Mapping[str, Any], weights: Arrays) -> "PixelHalf":
        """Read what `settings` gave, and the weights.

        Raises:
            KeyError, TypeError, ValueError, SettingsError: Something is missing, or does not fit.
        """
        told = settings["architecture"]
        named: dict[str, Any] = {
            key: tuple(told[key]) if isinstance(told[key], list) else told[key] for key in (*BRANCHES, *_ALIKE)
        }
        found = cls(int(settings["image_size"]), int(settings["channels"]), named, weights)
        network = Similarity(**named).build(found.image_size, found.channels)
        for name, value in network.state_dict().items():
            if _belongs(name) and weights[name].shape != value.shape:
                raise ValueError(f"{name} has the shape {weights[name].shape}, not {tuple(value.shape)}")
        return found

    def misfit(self, recipe: Recipe) -> str:
        """Why a recipe's network cannot take it, even with branches of its shape; empty where it can."""
        if self.image_size != recipe.data.image_size:
            return f"it paints {self.image_size} px, and this model {recipe.data.image_size}"
        if self.channels != recipe.data.channels:
            return f"it paints {self.channels} channels, and this model {recipe.data.channels}"
        for name in _ALIKE:
            theirs, ours = self.architecture[name], getattr(recipe.architecture, name)
            if theirs != ours:
                return f"its {name} is {theirs}, and that of this model {ours}"
        if recipe.corruption:
            return "this recipe changes what the encoder sees"
        return ""

    @property
    def branches(self) -> dict[str, Any]:
        """The settings of `BRANCHES`."""
        return {key: self.architecture[key] for key in BRANCHES}

    @property
    def mirrored(self) -> bool:
        """Whether an image and its mirror image have the same embedding."""
        return bool(self.weights[_KINDS].any())

    @torch.no_grad()
    def give_to(self, network: SimilarityAutoencoder, data: Data, *, mirror: bool) -> None:
        """Set a network's pixel half and decoder, in place; how its numbers are spread is found on the new pictures.

        Args:
            network: Of a recipe that this half fits.
            data: The new pictures.
            mirror: Whether they count as their own mirror images.
        """
        state = network.state_dict()
        for name, value in self.weights.items():
            state[name].copy_(torch.from_numpy(np.asarray(value, np.float32)))
        decoder = network.decoder
        # The semantic numbers of another model mean something else. What is left out is their mean, which is about 0.
        decoder.seed.weight[:, : network.semantic_dims] = 0
        for stage in decoder.stages:
            stage.film.weight.zero_()  # type: ignore[union-attr, operator]
        if not mirror:
            network.antisymmetric.zero_()
        codes = _codes(network, data, evenly(data.train, CODES))
        network.deviation.copy_(codes.std(0, unbiased=False))
        network.centre.copy_(codes.abs().mean(0) * network.antisymmetric)


def chosen_pixel_half(
    pixel: PixelHalf, data: Data, recipe: Recipe, own: PrincipalComponents, *, mirror: bool
) -> tuple[PixelHalf | None, str]:
    """Take over what another model has learnt where it paints held-out pictures better than their own components do.

    Args:
        pixel: It fits the recipe.
        data: The new pictures; those of validation judge.
        recipe: That the network is of otherwise.
        own: Components of the new pictures as that network's linear skip sees them.
        mirror: Whether the pictures count as their own mirror images.

    Returns:
        The pixel half to begin from, or None, and why, in words.
    """
    if mirror and not pixel.mirrored:
        return None, "it was not learnt from mirrored pictures"
    linear = new_network(recipe.with_dims(own.dims + recipe.semantic_dims))
    linear.start_from(own)
    learnt = new_network(recipe.with_branches(pixel.branches))
    assert isinstance(linear, SimilarityAutoencoder) and isinstance(learnt, SimilarityAutoencoder)  # noqa: S101
    pixel.give_to(learnt, data, mirror=mirror)
    rows = evenly(data.validation, EVALUATION_IMAGES)
    theirs, ours = _error(learnt, data, rows), _error(linear, data, rows)
    told = f"it paints held-out pictures with an MSE of {theirs:.5f}, their own principal components with {ours:.5f}"
    return (pixel if theirs < ours else None), told


@torch.no_grad()
def _error(network: SimilarityAutoencoder, data: Data, rows: Rows) -> float:
    """Mean squared error of images that are painted from their pixel half alone."""
    network.eval()
    total = 0.0
    for part in batches(rows):
        x = data.tensor(part, network.centre.device)
        pixel = network.pixel_half(x)
        painted = network.decode(torch.cat([pixel.new_zeros(len(part), network.semantic_dims), pixel], dim=1))
        total += float((painted - x).square().mean(dim=(1, 2, 3)).sum())
    return total / len(rows)


def _codes(network: SimilarityAutoencoder, data: Data, rows: Rows) -> Tensor:
    return torch.cat([network.pixel_half(data.tensor(part, network.centre.device)) for part in batches(rows)])


def _belongs(name: str) -> bool:
    return name == _KINDS or name.startswith(_PARTS)
