"""How fast a trunk is trained without labels, beside the same network in a bare PyTorch loop.

    python benchmarks/trunk_training.py [--recipe similarity] [--steps 6] [--threads 2]

Random images: they cost what photos cost once they are decoded. A step of ours draws the images, makes the views and
learns from them; the bare loop runs the same network, projector and optimiser on one batch that is there already, with
a loss that costs nothing. Both take turns, so that other work on the machine meets both. Prints views/s, the ratio, and
the share of a step that making the views takes.
"""

import argparse
import copy
import time

import numpy as np
import torch

from train.architectures.similarity import Similarity, Trunk
from train.data import Data
from train.recipe import Recipe
from train.run import Plan
from train.trunk_learner import TrunkLearner

IMAGES = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--recipe", default="similarity")
    parser.add_argument("--steps", type=int, default=6, help="timed, of each kind")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    ours = learner(Recipe.read(asked.recipe), asked.precision)
    bare = Bare(ours)
    times: dict[str, list[float]] = {"ours": [], "bare": [], "views": []}
    for round_number in range(asked.steps + 1):  # the first one warms up
        for name, step in (
            ("ours", ours.take_step),
            ("bare", bare.take_step),
            ("views", lambda: ours.views(ours_random())),
        ):
            began = time.perf_counter()
            step()
            if round_number:
                times[name].append(time.perf_counter() - began)
    views = ours.batch * (ours.settings.views + ours.settings.weak)
    seconds = {name: float(np.median(each)) for name, each in times.items()}
    print(f"{asked.recipe}, {asked.precision}, {asked.threads} threads, {views} views a step")
    print(
        f"ours {views / seconds['ours']:.0f} views/s, bare {views / seconds['bare']:.0f}; "
        f"ratio {seconds['bare'] / seconds['ours']:.2f}; views {seconds['views'] / seconds['ours']:.1%} of a step"
    )


def ours_random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def learner(recipe: Recipe, precision: str) -> TrunkLearner:
    """A learner on random images, at its first step."""
    size = recipe.data.image_size
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, size, size, 3), np.uint8)
    rows = np.arange(IMAGES)
    plan = Plan(
        dims=256,
        mirror=True,
        batch=64,
        steps=1,
        steps_per_epoch=1,
        precision=precision,
        device="cpu",
        threads=torch.get_num_threads(),
        pca_validation_mse=None,
        pca_test_mse=None,
        trunk_steps=1000,
    )
    assert isinstance(recipe.architecture, Similarity)
    return TrunkLearner(recipe, plan, Data(images, rows, rows[:64], rows[:64]), Trunk(recipe.architecture))


class Bare:
    """The same network and optimiser, and nothing else."""

    def __init__(self, ours: TrunkLearner) -> None:
        self.network = copy.deepcopy(ours.online)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), fused=True)
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=ours.plan.precision == "bf16")
        self.batch = torch.cat(ours.views(ours_random()))

    def take_step(self) -> None:
        """One step on the same batch."""
        with self.autocast:
            found = self.network(self.batch)
        found.float().square().mean().backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


if __name__ == "__main__":
    main()
