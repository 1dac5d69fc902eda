"""Teaching labels to a trained encoder: a linear head on the latent, a few epochs, beside the same net untrained.

The trained encoder is tuned in two phases: first the head alone, which at the beginning knows nothing and would only
spoil the encoder; then everything, the encoder at a lower rate. The net with random weights gets the same
images in the same order, as many steps, and the same head to begin with; all of it learns at the full rate from the
first step, since there is nothing in it that could be spoilt. Neither sees the held-out images, and the last epoch
counts: none is chosen by them.
"""

import io
import json
import math
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from train.errors import DamagedError, IncompatibleError, NothingFoundError, SettingsError, UserError
from train.files import atomic_folder
from train.images import Pixels
from train.labelled import BOOTSTRAP_DRAWS, Accuracy, Division, LabelledImages, batches
from train.progress import Task

if TYPE_CHECKING:
    from train.architectures import Autoencoder
    from train.interruption import StopRequest
    from train.progress import Reporter
    from train.recipe import Recipe

FORMAT = 1
CLASSIFIER_FILE = "classifier.pt"
PRETRAINED, RANDOM = "trained encoder", "random weights"
EVALUATION_BATCH = 128
_BLUE, _ORANGE, _GREY = "#2563eb", "#ea580c", "#6b7280"

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """Settings of a fine-tuning; saved with the classifier."""

    epochs: int = 3  # passes over the images, both phases together
    head_share: float = 0.2  # of the steps in which the head learns alone
    batch: int = 32
    learning_rate: float = 1e-3  # peak, of the net with random weights; warm-up, then half a cosine
    head_rate: float = 10.0  # of it, for both heads, which have few steps
    encoder_rate: float = 0.5  # of it, for the trained encoder
    warm_up: float = 0.05  # share of the steps
    weight_decay: float = 1e-2
    seed: int = 0
    device: str = "cpu"


class Classifier(nn.Module):
    """An encoder with a linear head on its latent.

    Attributes:
        network: Whose encoder it is.
        classes: Labels, in the order of the outputs.
        centre: Taken off a latent before the head, (latent_dims,).
        scale: What is then divided by, ().
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, network: "Autoencoder", classes: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.classes = tuple(classes)
        self.head = nn.Linear(network.latent_dims, len(self.classes))
        self.register_buffer("centre", torch.zeros(network.latent_dims))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, 3, h, w) in [0, 1] to a score for each class, (n, classes); the highest is the answer."""
        scores: Tensor = self.head((self.network.encode(x) - self.centre) / self.scale)
        return scores

    @torch.no_grad()
    def standardise_on(self, latents: Tensor) -> None:
        """Let latents (n, latent_dims) reach the head around 0 and with a mean square of 1.

        One scale for all dimensions, so that those that vary much are learnt from first: after an epoch of the head
        alone 50.5 % of 200 Corel-1000 photos are named rightly, with a scale for each dimension 33.5 %.
        """
        self.centre.copy_(latents.mean(dim=0))
        self.scale.fill_(max(float((latents - self.centre).square().mean().sqrt()), 1e-6))


@dataclass(frozen=True)
class Learnt:
    """How one of the two classifiers learnt."""

    classifier: Classifier
    losses: list[float]  # of each step
    accuracies: list[float]  # on the held-out images, before the first epoch and after each
    correct: NDArray[np.bool_]  # (held-out images,), at the end
    answers: Rows  # (held-out images,), numbers of classes


@dataclass(frozen=True)
class Finetuned:
    """The trained encoder with its head, and the same net from random weights."""

    pretrained: Learnt
    random: Learnt
    division: Division
    labels: Rows  # of the held-out images, numbers of classes
    settings: FinetuneSettings

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, in the order of the outputs."""
        return self.pretrained.classifier.classes

    @property
    def gain(self) -> Accuracy:
        """By how much the trained encoder is better, with the bootstrap interval of the paired difference."""
        shares = _differences(self.pretrained.correct, self.random.correct)
        count = len(self.pretrained.correct)
        drawn = np.random.default_rng([self.settings.seed, 4]).multinomial(count, shares, BOOTSTRAP_DRAWS) / count
        low, high = np.quantile(drawn[:, 0] - drawn[:, 2], (0.025, 0.975))
        return Accuracy(float(shares[0] - shares[2]), float(low), float(high))

    def to_json(self) -> dict[str, Any]:
        """For --json and classifier.json."""
        right = self.pretrained.correct
        return {
            "classes": list(self.classes),
            "train_images": len(self.division.train),
            "test_images": len(self.division.test),
            "official_split": self.division.official,
            "pretrained": self._figures(self.pretrained),
            "random": self._figures(self.random),
            "gain": self.gain.to_json(),
            "accuracy_by_class": {
                name: round(float(right[self.labels == number].mean()), 5)
                for number, name in enumerate(self.classes)
                if (self.labels == number).any()
            },
            "settings": asdict(self.settings),
        }

    def _figures(self, learnt: Learnt) -> dict[str, Any]:
        accuracy = Accuracy.of(learnt.correct, self.settings.seed).to_json()
        return {**accuracy, "by_epoch": [round(value, 5) for value in learnt.accuracies]}

    def sentence(self) -> str:
        """Both accuracies, and the difference."""
        lines = [
            self.division.sentence(self.settings.seed),
            f"Accuracy on the held-out images after {self.settings.epochs} epochs (bootstrap interval, 95 %):",
        ]
        for name, learnt in ((PRETRAINED, self.pretrained), (RANDOM, self.random)):
            lines.append(f"  {name:<16} {_percent(Accuracy.of(learnt.correct, self.settings.seed))}")
        gain = self.gain
        lines.append(
            f"  {'difference':<16} {100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        )
        return "\n".join(lines)


def _differences(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Shares of images that one alone has right, on which both agree, and that the other alone has right."""
    return np.array([(one & ~other).mean(), (one == other).mean(), (other & ~one).mean()])


def _percent(found: Accuracy) -> str:
    return f"{100 * found.value:5.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def untrained_twin(recipe: "Recipe", seed: int) -> "Autoencoder":
    """The network of a recipe with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return recipe.build()


def finetune(
    network: "Autoencoder",
    twin: "Autoencoder",
    images: LabelledImages,
    division: Division,
    settings: FinetuneSettings,
    *,
    reporter: "Reporter",
    stop: "StopRequest",
) -> Finetuned:
    """Teach labels to a trained network, and to its twin with random weights.

    Args:
        network: Trained; changed in place.
        twin: Of the same shape, untrained; changed in place.
        images: With labels.
        division: Which of them are learnt from, and which are held out.
        settings: The same for both.
        reporter: Told what is going on.
        stop: Looked at between two steps.

    Raises:
        UserError: A loss is no number any more.
        Interrupted: The user asked to stop; nothing is written yet.
    """
    # Labels without two images take no part: outputs are numbered anew.
    classes = [images.classes[number] for number in division.classes]
    numbers = np.full(len(images.classes), -1, np.int64)
    numbers[list(division.classes)] = np.arange(len(classes))
    labels = numbers[images.labels]
    steps = settings.epochs * _steps_per_epoch(len(division.train), settings.batch)
    learnt = []
    for name, each in ((PRETRAINED, network), (RANDOM, twin)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            classifier = Classifier(each, classes).to(settings.device)
        teacher = _Teacher(classifier, images.pixels, labels, division, settings, pretrained=each is network)
        with reporter.task(f"fine-tuning, {name}", steps * settings.batch) as task:
            learnt.append(teacher.teach(task, stop))
    return Finetuned(learnt[0], learnt[1], division, labels[division.test], settings)


def _steps_per_epoch(count: int, batch: int) -> int:
    return max(1, math.ceil(count / batch))


class _Teacher:
    """Everything that changes while one classifier learns."""

    def __init__(
        self,
        classifier: Classifier,
        pixels: Pixels,
        labels: Rows,
        division: Division,
        settings: FinetuneSettings,
        *,
        pretrained: bool,
    ) -> None:
        self.classifier = classifier
        self.pixels, self.labels, self.division, self.settings = pixels, labels, division, settings
        self.steps_per_epoch = _steps_per_epoch(len(division.train), settings.batch)
        self.steps = settings.epochs * self.steps_per_epoch
        self.head_steps = round(settings.head_share * self.steps) if pretrained else 0
        self.optimiser = torch.optim.AdamW(
            [
                {"params": list(classifier.head.parameters()), "rate": settings.head_rate},
                {"params": list(classifier.network.parameters()), "rate": settings.encoder_rate if pretrained else 1.0},
            ],
            weight_decay=settings.weight_decay,
        )

    def teach(self, task: Task, stop: "StopRequest") -> Learnt:
        classifier, settings = self.classifier.eval(), self.settings
        with torch.no_grad():
            latents = [classifier.network.encode(self._tensor(rows)) for rows in self._parts(self.division.train)]
        classifier.standardise_on(torch.cat(latents))
        losses: list[float] = []
        accuracies = [float((self._answers() == self.labels[self.division.test]).mean())]
        for epoch in range(settings.epochs):
            order = np.random.default_rng([settings.seed, epoch]).permutation(self.division.train)
            # Parts of nearly the same size: a last batch of one image would have no statistics.
            for rows in np.array_split(order, self.steps_per_epoch):
                stop.raise_if_set("nothing was written: the same command begins again.")
                losses.append(self._step(rows, len(losses)))
                task.advance(settings.batch)
            answers = self._answers()
            accuracies.append(float((answers == self.labels[self.division.test]).mean()))
            task.note = f"epoch {epoch + 1}, accuracy {100 * accuracies[-1]:.1f} %"
        return Learnt(classifier, losses, accuracies, answers == self.labels[self.division.test], answers)

    def _step(self, rows: Rows, step: int) -> float:
        head_alone = step < self.head_steps
        self.classifier.network.train(not head_alone).requires_grad_(not head_alone)
        warm_up = max(1, round(self.settings.warm_up * self.steps))
        rate = min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * rate * group["rate"]
        scores = self.classifier(self._tensor(rows))
        loss = F.cross_entropy(scores, torch.from_numpy(self.labels[rows]).to(scores.device))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError(
                f"the loss became {value} at step {step + 1:,}: nothing was written. Use a lower --learning-rate."
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.classifier.parameters(), 1.0)
        self.optimiser.step()
        return value

    @torch.no_grad()
    def _answers(self) -> Rows:
        self.classifier.eval()
        found = [self.classifier(self._tensor(rows)).argmax(dim=1).cpu() for rows in self._parts(self.division.test)]
        answers: Rows = torch.cat(found).numpy()
        return answers

    def _parts(self, rows: Rows) -> list[Rows]:
        return list(batches(rows, EVALUATION_BATCH))

    def _tensor(self, rows: Rows) -> Tensor:
        x = torch.from_numpy(self.pixels[rows]).to(self.settings.device)
        return x.permute(0, 3, 1, 2).float().div_(255)


# --- the classifier on disk -------------------------------------------------------------------------------------------


def save_finetuned(finetuned: Finetuned, recipe: "Recipe", folder: Path) -> None:
    """Write the tuned classifier, its figures and the curves, all in one step.

    classifier.pt     recipe, weights and classes; read by `load_classifier`
    classifier.json   figures of both, by epoch and by class, and the settings
    curves.png        how both learnt

    Raises:
        DiskError: It cannot be written; what stood there before is untouched.
    """
    classifier = finetuned.pretrained.classifier.to("cpu")
    state = {
        "format": FORMAT,
        # As text: whatever the recipe holds, it is read without running code.
        "recipe": json.dumps(recipe.to_json()),
        "classes": list(finetuned.classes),
        "weights": classifier.state_dict(),
    }
    with atomic_folder(folder) as aside:
        torch.save(state, aside / CLASSIFIER_FILE)
        (aside / "classifier.json").write_text(json.dumps(finetuned.to_json(), indent=1) + "\n", encoding="utf-8")
        (aside / "curves.png").write_bytes(_curves(finetuned))


def expect_replaceable(folder: Path) -> None:
    """Refuse a folder whose content is not a classifier of ours: it would be replaced whole.

    Raises:
        SettingsError: Something else stands there.
    """
    if folder.exists() and not (folder / CLASSIFIER_FILE).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder} holds something else than a classifier: give another --output.")


def load_classifier(folder: Path) -> Classifier:
    """Read a classifier, in evaluation mode, on the CPU.

    Raises:
        NothingFoundError: There is none.
        IncompatibleError: A later version wrote it.
        DamagedError: It cannot be read.
    """
    from train.recipe import Recipe

    path = folder / CLASSIFIER_FILE
    if not path.is_file():
        raise NothingFoundError(f"there is no classifier in {folder}: make one with `lookalike finetune`.")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if stored["format"] > FORMAT:
            raise IncompatibleError(f"{path} has format {stored['format']}: use the version that wrote it.")
        classifier = Classifier(Recipe.from_json(json.loads(stored["recipe"])).build(), stored["classes"])
        classifier.load_state_dict(stored["weights"])
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise DamagedError(f"{path} is damaged ({error}): run `lookalike finetune` again.") from error
    return classifier.eval()


def _curves(finetuned: Finetuned) -> bytes:
    """Loss of the training batches and accuracy on the held-out images, of both."""
    # Without pyplot: no global state and no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    loss, accuracy = figure.subplots(1, 2)
    for name, learnt, colour in (
        (PRETRAINED, finetuned.pretrained, _BLUE),
        (RANDOM, finetuned.random, _ORANGE),
    ):
        steps = len(learnt.losses) / finetuned.settings.epochs
        epochs = (np.arange(len(learnt.losses)) + 1) / steps
        loss.plot(epochs, learnt.losses, color=colour, alpha=0.2)
        loss.plot(epochs, _smoothed(learnt.losses), color=colour, label=name)
        accuracy.plot(100 * np.array(learnt.accuracies), color=colour, marker="o", label=name)
        found = Accuracy.of(learnt.correct, finetuned.settings.seed)
        bars = [[100 * (found.value - found.low)], [100 * (found.high - found.value)]]
        last = len(learnt.accuracies) - 1
        accuracy.errorbar([last], [100 * found.value], yerr=bars, color=colour, capsize=4)
    alone = finetuned.settings.head_share * finetuned.settings.epochs
    for axes in (loss, accuracy):
        axes.axvline(alone, color=_GREY, linestyle=":", label="trained encoder: the head alone until here")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    loss.set(title="loss of the training batches", xlabel="epoch", ylim=(0, None))
    accuracy.set(title="accuracy on held-out images, % (bar: 95 % interval)", xlabel="epoch")
    accuracy.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _smoothed(values: Sequence[float]) -> NDArray[np.float64]:
    """Running mean over a tenth of the steps, shorter at both ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    half = max(1, len(values) // 20)
    places = np.arange(len(values))
    low, high = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    means: NDArray[np.float64] = (sums[high] - sums[low]) / (high - low)
    return means
