"""The training loop: from a folder of images, or from wherever an earlier start left off, to the best network.

What a step does follows from the settings, the seed and the number of the step alone. So a run that was killed and
goes on from its last checkpoint ends with the weights of an undisturbed one (with as many threads on the same machine).
"""

import copy
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from train import pca
from train.architectures.principal import Autoencoder, thumbnail_factor
from train.config import DEFAULT_EPOCHS, TrainConfig
from train.errors import NothingFoundError, SettingsError, TooManyRejectedError, UserError
from train.events import Showcase
from train.files import locked, remove_leftovers
from train.image_cache import CacheSummary, ImageCache, split
from train.images import Pixels
from train.interruption import StopRequest
from train.losses import clip_straight_through, laplacian_distance, luminance, ms_ssim
from train.progress import Reporter, duration
from train.run import Plan, Run

MIN_IMAGES = 8  # a few to learn from, one to choose by and one to measure on
EVALUATION_IMAGES = 1000  # of the validation images, at most, at each evaluation
TEST_IMAGES = 5000  # of the test images, at most
EVALUATIONS = 50  # in a run, at most
EVALUATION_SPACING = 10  # images learnt from for each one evaluated: evaluation then takes about 5 % of the time
STEPS_BETWEEN_LINES = 20  # of metrics.jsonl
MIRROR_TOLERANCE = 1.02  # mirrored components may rebuild held-out images this much worse: they search better
CALIBRATION_STEPS = 6  # timed, after one that warms up
CALIBRATION_SHARE = 0.9  # of the measured rate is promised: evaluations, sheets and checkpoints take the rest

Rows = NDArray[np.int64]


class DivergedError(UserError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class Data:
    """The images and their division."""

    images: Pixels
    train: Rows
    validation: Rows
    test: Rows

    @classmethod
    def of(cls, cache: ImageCache, config: TrainConfig) -> "Data":
        """Divide the images of a cache."""
        hashes = cache.hashes()
        train, validation, test = (np.array(rows) for rows in split(hashes, config.validation_share, config.test_share))
        return cls(cache.pixels(), train, validation, test)

    def tensor(self, rows: Rows, device: torch.device) -> Tensor:
        """Images as (n, 3, h, w) in [0, 1]; being (n, h, w, 3) in memory they are channels_last as they are."""
        return torch.from_numpy(self.images[rows]).to(device).permute(0, 3, 1, 2).float().div_(255)


@dataclass
class Learner:
    """Everything that changes while training goes on."""

    config: TrainConfig
    plan: Plan
    data: Data
    network: Autoencoder
    averaged: Autoencoder = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)
    step: int = 0
    best_step: int = 0
    best_mse: float = math.inf
    best_weights: dict[str, Tensor] | None = None  # not yet written; None where best.pt has them
    sums: dict[str, float] = field(default_factory=dict)  # since the last line of metrics.jsonl

    def __post_init__(self) -> None:
        self.device = torch.device(self.plan.device)
        self.network = self.network.to(self.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.linear = self.network.linear_parameters()
        linear = {id(parameter) for parameter in self.linear}
        branches = [parameter for parameter in self.network.parameters() if id(parameter) not in linear]
        self.optimiser = torch.optim.AdamW(
            [{"params": branches, "rate": 1.0}, {"params": self.linear, "rate": self.config.linear_rate}],
            betas=(0.9, 0.99),
            weight_decay=self.config.weight_decay,
            fused=True,
        )

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
            parameter.requires_grad_(progress >= self.config.linear_frozen)
        random = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        x = self._batch(random)
        loss, mse = self._loss(x, random, final=progress >= 1 - self.config.final)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss became {value} at step {self.step:,}, so training stopped there: the best network up "
                "to it is kept and can be exported. Train again with --fresh and a lower --learning-rate."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._average()
        self.step += 1
        for name, amount in (("loss", value), ("mse", float(mse)), ("steps", 1.0)):
            self.sums[name] = self.sums.get(name, 0.0) + amount

    @property
    def learning_rate(self) -> float:
        """Rate of the branches at this step: linear warm-up, then half a cosine."""
        warm_up = max(1, round(self.config.warm_up * self.plan.steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / self.plan.steps))
        return self.config.learning_rate * min(1.0, (self.step + 1) / warm_up) * cosine

    def _batch(self, random: torch.Generator) -> Tensor:
        epoch, place = divmod(self.step, self.plan.steps_per_epoch)
        order = _order(self.config.seed, epoch, len(self.data.train))
        x = self.data.tensor(self.data.train[order[place * self.plan.batch :][: self.plan.batch]], self.device)
        if self.plan.mirror:
            turned = torch.rand(len(x), generator=random) < 0.5
            x = torch.where(turned[:, None, None, None].to(self.device), x.flip(3), x)
        return x

    def _loss(self, x: Tensor, random: torch.Generator, *, final: bool) -> tuple[Tensor, Tensor]:
        """Loss in units of PCA's error, so that one learning rate suits all images, and the plain squared error."""
        with self._autocast():
            latent = self.network.encode(x)
            if not final:
                latent = latent + self._code_noise(latent, random)
            painted = clip_straight_through(self.network.paint(latent))
        mse = F.mse_loss(painted, x)
        loss = mse
        if not final:
            grey, grey_target = luminance(painted), luminance(x)
            loss = loss + self.config.structure_weight * (1 - ms_ssim(grey, grey_target))
            loss = loss + self.config.edge_weight * laplacian_distance(grey, grey_target)
        return loss / max(self.plan.pca_validation_mse, 1e-6), mse.detach()

    def _code_noise(self, latent: Tensor, random: torch.Generator) -> Tensor:
        """Noise that a stored, quantised or morphed code should be robust to."""
        semantic = torch.ones(self.network.semantic_dims, device=self.device)
        scale = self.config.code_noise * torch.cat([semantic, self.network.deviation])
        return torch.randn(latent.shape, generator=random).to(self.device) * scale

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16")

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average of the weights, over fewer steps at the beginning."""
        horizon = max(10.0, min(self.step + 1.0, self.config.averaging * self.plan.steps))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 / horizon)

    # --- measuring ------------------------------------------------------------------------------------------------

    def evaluate(self) -> float:
        """Squared error of the averaged weights on the validation images; the lowest so far is kept as the best."""
        rows = _evenly(self.data.validation, EVALUATION_IMAGES)
        mse = squared_error(self.averaged, self.data, rows, self.device)
        if mse < self.best_mse:
            self.best_mse, self.best_step = mse, self.step
            self.best_weights = {name: value.clone() for name, value in self.averaged.state_dict().items()}
        return mse

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
            "network": self.network.shape,
            "weights": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "best_step": self.best_step,
            "best_mse": self.best_mse,
            "sums": self.sums,
        }
        run.save("checkpoint.pt", state)

    def save_best(self, run: Run) -> None:
        """Write the best network, if it is not on disk yet."""
        if self.best_weights is not None:
            state = {"network": self.network.shape, "weights": self.best_weights}
            run.save("best.pt", {**state, "step": self.best_step, "validation_mse": self.best_mse})
            self.best_weights = None

    def restore(self, stored: dict[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.network.load_state_dict(stored["weights"])
        self.averaged.load_state_dict(stored["averaged"])
        self.optimiser.load_state_dict(stored["optimiser"])
        self.step, self.best_step, self.best_mse = stored["step"], stored["best_step"], stored["best_mse"]
        self.sums = dict(stored["sums"])


@dataclass(frozen=True)
class Result:
    """What training came to."""

    run: Run
    cache: CacheSummary
    figures: dict[str, Any]
    resumed: bool  # an earlier start had done some of the steps
    seconds: float  # of this start

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "run": self.run.name,
            "folder": str(self.run.folder),
            "images": self.cache.stored,
            "duplicate": self.cache.duplicate,
            "rejected": self.cache.rejected,
            "other": self.cache.other,
            "resumed": self.resumed,
            "seconds": round(self.seconds, 1),
            **self.figures,
        }

    def sentence(self) -> str:
        """What was reached on held-out images, where the run is, and the next command."""
        f = self.figures
        return (
            f"Held out ({f['test_images']:,} images neither trained on nor used to choose): MSE {f['test_mse']:.5f}, "
            f"PCA with {f['dims']} dimensions {f['pca_test_mse']:.5f}, ratio {f['ratio']:.3f}, "
            f"PSNR {f['psnr']:.1f} dB.\n"
            f"The run is in {self.run.folder} (sheets/, curves.png, events/ for TensorBoard).\n"
            f"Next: lookalike export {self.name_to_export}"
        )

    def refuse_too_many_rejected(self, max_bad: float) -> None:
        """End with the exit code for it where a larger share of the images than `max_bad` was rejected.

        Raises:
            TooManyRejectedError: It was; the run is finished and good all the same.
        """
        if self.cache.rejected_share > max_bad:
            raise TooManyRejectedError(
                f"{self.cache.rejected_count:,} images were rejected, {self.cache.rejected_share:.1%} of them and more "
                f"than --max-bad {max_bad:.1%}: the run is trained on the good ones; "
                f"{self.run.path('failures.jsonl')} lists the others."
            )

    @property
    def name_to_export(self) -> str:
        """What `lookalike export` takes: the name in the workspace, or the path where the run stands elsewhere."""
        return self.run.name if self.run.folder.parent.name == "runs" else str(self.run.folder)


# --- from a folder to a result ----------------------------------------------------------------------------------------


def train_folder(
    source: Path,
    folder: Path,
    config: TrainConfig,
    *,
    fresh: bool,
    reporter: Reporter,
    stop: StopRequest,
) -> Result:
    """Train on a folder of images, or go on with what an earlier start left in the run's folder.

    Args:
        source: Images, searched recursively.
        folder: Of the run.
        config: Settings; those that shape what is learnt must be the ones the run was begun with.
        fresh: Remove what stands in the run's folder first.
        reporter: Told what is going on.
        stop: Looked at between two steps.

    Raises:
        Interrupted: The user asked to stop; everything is saved.
    """
    began = time.monotonic()
    with locked(folder, "training"):
        remove_leftovers(folder)
        run = _begin(source, folder, config, fresh=fresh, reporter=reporter)
        config = run.config
        threads = run.plan.threads if run.plan else config.threads or len(os.sched_getaffinity(0))
        torch.set_num_threads(threads)
        summary = _read_images(run, source, threads, reporter, stop)
        resumed = run.path("checkpoint.pt").exists()
        if run.result is None:
            _train(run, config, threads, reporter, stop)
        else:
            reporter.say(f"{folder} is trained already (--fresh trains it again).")
    return Result(run, summary, run.result or {}, resumed, time.monotonic() - began)


def _begin(source: Path, folder: Path, config: TrainConfig, *, fresh: bool, reporter: Reporter) -> Run:
    """Open the run that stands in a folder, or begin one."""
    if fresh:
        Run.clear(folder)
    if not (folder / "run.json").exists():
        return Run.create(folder, config, source)
    run = Run.open(folder)
    differences = run.config.differences(config)
    if Path(run.record["source"]) != source.resolve():
        differences.insert(0, f"the folder of images ({run.record['source']}, now {source.resolve()})")
    if differences:
        raise SettingsError(
            f"{folder} was begun with other settings: {'; '.join(differences)}. Give the same ones to go on with it, "
            "another --name to train beside it, or --fresh to begin again."
        )
    return run


def _read_images(run: Run, source: Path, threads: int, reporter: Reporter, stop: StopRequest) -> CacheSummary:
    cache = run.cache
    if cache.complete:
        return cache.summary()
    summary = cache.fill(source, workers=threads, reporter=reporter, stop=stop)
    run.write_failures(cache.failures())
    if summary.stored < MIN_IMAGES:
        cache.forget()  # the folder is read anew when it has more
        raise NothingFoundError(_too_few(source, summary, run))
    counts = [f"{summary.stored:,} images"]
    counts += [f"{summary.duplicate:,} duplicates"] if summary.duplicate else []
    counts += [f"{summary.rejected_count:,} rejected ({run.path('failures.jsonl')})"] if summary.rejected_count else []
    counts += [f"{summary.other:,} other files"] if summary.other else []
    reporter.say(f"Read {', '.join(counts)}.")
    return summary


def _too_few(source: Path, summary: CacheSummary, run: Run) -> str:
    found = f"only {summary.stored} usable images" if summary.stored else "no images that can be used"
    if summary.rejected_count:
        found += f" and {summary.rejected_count} that were rejected ({run.path('failures.jsonl')} says why)"
    return (
        f"{source} has {found}; training needs at least {MIN_IMAGES}: give a folder with more JPEG, PNG, WebP, GIF, "
        "BMP, TIFF or AVIF files."
    )


def _train(run: Run, config: TrainConfig, threads: int, reporter: Reporter, stop: StopRequest) -> None:
    data = Data.of(run.cache, config)
    plan = run.plan
    if plan is None:
        plan, components = _make_plan(data, config, threads, reporter)
        run.set_plan(plan)
    elif run.path("checkpoint.pt").exists():
        components = None
    else:
        components = _components(data, config, plan.mirror, plan.dims)
    learner = _learner(run, config, plan, data, components)
    began = time.monotonic()
    with Showcase(run, data.validation, data.train, step=learner.step, pca_mse=plan.pca_validation_mse) as showcase:
        _loop(run, learner, showcase, reporter, stop)
        best = run.load_network()
        showcase.show(best, learner.step)
        share = showcase.seconds / max(time.monotonic() - began, 1e-9)
    run.update(result={**_final_figures(best, learner), "sheets_share_of_time": round(share, 4)})


def _learner(
    run: Run, config: TrainConfig, plan: Plan, data: Data, components: pca.PrincipalComponents | None
) -> Learner:
    """A learner at its first step, from the principal components, or at that of the last checkpoint."""
    learner = Learner(config, plan, data, _new_network(config, plan.dims))
    stored = run.load("checkpoint.pt")
    if stored is not None:
        learner.restore(stored)
        run.rewind_metrics(learner.step)
    elif components is not None:
        learner.network.start_from(components)
        learner.averaged.load_state_dict(learner.network.state_dict())
        run.rewind_metrics(-1)
    return learner


def _new_network(config: TrainConfig, dims: int) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Autoencoder(
            config.image_size,
            config.widths,
            pixel_dims=dims - config.semantic_dims,
            semantic_dims=config.semantic_dims,
            alpha=config.alpha,
        )


# --- the plan ---------------------------------------------------------------------------------------------------------


def _components(data: Data, config: TrainConfig, mirror: bool, dims: int) -> pca.PrincipalComponents:
    factor = thumbnail_factor(config.image_size)
    return pca.principal_components(
        data.images, data.train, dims - config.semantic_dims, mirror=mirror, factor=factor, seed=config.seed
    )


def _make_plan(
    data: Data, config: TrainConfig, threads: int, reporter: Reporter
) -> tuple[Plan, pca.PrincipalComponents]:
    """Find the principal components, choose what the settings leave open, and say what will be done."""
    reporter.say(f"Finding the principal components of {len(data.train):,} images.")
    plain = pca.principal_components(data.images, data.train, config.dims, mirror=False, seed=config.seed)
    validation = _evenly(data.validation, EVALUATION_IMAGES)
    errors = [
        pca.reconstruction_error(plain, data.images, rows) for rows in (validation, _evenly(data.test, TEST_IMAGES))
    ]
    components, mirror = _choose_mirror(data, config, validation)
    if components.dims == 0:
        raise NothingFoundError("all training images look the same, so there is nothing to learn: give other images.")
    dims = components.dims + config.semantic_dims
    if dims < config.dims:
        reporter.say(
            f"{len(data.train):,} training images support {dims} dimensions: using {dims} instead of {config.dims}."
        )
    batch = min(config.batch, len(data.train))
    plan = Plan(
        dims=dims,
        mirror=mirror,
        batch=batch,
        steps=1,
        steps_per_epoch=len(data.train) // batch,
        precision=config.precision,
        device=_device(config),
        threads=threads,
        pca_validation_mse=errors[0],
        pca_test_mse=errors[1],
    )
    return _with_budget(plan, config, data, reporter), components


def _choose_mirror(data: Data, config: TrainConfig, validation: Rows) -> tuple[pca.PrincipalComponents, bool]:
    """Mirror as the settings say; on `auto`, unless held-out images have a right way round (text, faces, flags)."""
    if config.mirror != "auto":
        mirror = config.mirror == "yes"
        return _components(data, config, mirror, config.dims), mirror
    plain, mirrored = (_components(data, config, mirror, config.dims) for mirror in (False, True))
    factor = thumbnail_factor(config.image_size)
    errors = [pca.reconstruction_error(found, data.images, validation, factor) for found in (plain, mirrored)]
    mirror = errors[1] <= MIRROR_TOLERANCE * errors[0]
    return (mirrored if mirror else plain), mirror


def _with_budget(plan: Plan, config: TrainConfig, data: Data, reporter: Reporter) -> Plan:
    """Choose precision and steps; where that needs the rate of this machine, measure it."""
    precisions = ["fp32", "bf16"] if config.precision == "auto" else [config.precision]
    epochs = config.epochs or DEFAULT_EPOCHS
    if len(precisions) == 1 and config.minutes is None:
        return replace(plan, steps=epochs * plan.steps_per_epoch)
    times = {name: _step_times(replace(plan, precision=name), config, data) for name in precisions}
    # The fastest step says what a precision can do, the median what the machine gives beside its other work.
    precision = min(precisions, key=lambda name: min(times[name]))
    step = float(np.median(times[precision])) / CALIBRATION_SHARE
    steps = epochs * plan.steps_per_epoch if config.minutes is None else max(1, int(config.minutes * 60 / step))
    plan = replace(plan, precision=precision, steps=steps)
    reporter.say(
        f"Training {plan.dims} dimensions on {len(data.train):,} images of {config.image_size} px: {plan.epochs:.3g} "
        f"epochs in {precision} on {plan.device}, about {duration(steps * step)}."
    )
    return plan


def _step_times(plan: Plan, config: TrainConfig, data: Data) -> list[float]:
    """Seconds of a few steps with every loss and all weights moving, on a network that is then thrown away."""
    learner = Learner(config, replace(plan, steps=1000), data, _new_network(config, plan.dims))
    learner.step = int(1000 * max(config.linear_frozen, 1 / 2))
    learner.take_step()
    times = []
    for _ in range(CALIBRATION_STEPS):
        start = time.perf_counter()
        learner.take_step()
        times.append(time.perf_counter() - start)
    return times


def _device(config: TrainConfig) -> str:
    """The device to train on.

    Raises:
        SettingsError: The one that was asked for is not there.
    """
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=config.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"device is {config.device!r}, which does not work here ({reason}): use auto or cpu."
        ) from error
    return config.device


# --- the loop ---------------------------------------------------------------------------------------------------------


def _loop(run: Run, learner: Learner, showcase: Showcase, reporter: Reporter, stop: StopRequest) -> None:
    plan = learner.plan
    clock = _Clock(learner)
    with reporter.task("training", plan.steps * plan.batch, "images") as task:
        task.resume_at(learner.step * plan.batch)
        if learner.step == 0:
            task.note = _note(learner, _evaluate(run, learner, showcase, clock))
            learner.save_best(run)
        while learner.step < plan.steps:
            try:
                learner.take_step()
            except DivergedError:
                learner.save_best(run)
                raise
            if learner.step % STEPS_BETWEEN_LINES == 0 or learner.step == plan.steps:
                _log(run, showcase, learner.step, "train", clock.line(learner))
            task.advance(plan.batch)
            if learner.step % learner.steps_between_evaluations == 0 or learner.step == plan.steps:
                task.note = _note(learner, _evaluate(run, learner, showcase, clock))
            if stop:
                learner.save(run)
                stop.raise_if_set(
                    f"saved at step {learner.step:,} of {plan.steps:,}: the same command goes on from there."
                )
            if clock.since_save() >= learner.config.checkpoint_seconds:
                learner.save(run)
                clock.saved()
        learner.save(run)


def _evaluate(run: Run, learner: Learner, showcase: Showcase, clock: "_Clock") -> float:
    mse = learner.evaluate()
    epoch = learner.step / learner.plan.steps_per_epoch
    _log(run, showcase, learner.step, "validation", {"epoch": epoch, "mse": mse, "psnr": psnr(mse)})
    showcase.show_if_cheap(learner.averaged, learner.step, clock.seconds())
    return mse


def _log(run: Run, showcase: Showcase, step: int, kind: str, values: dict[str, float]) -> None:
    run.add_metrics({"step": step, "split": kind, **values})
    showcase.scalars(kind, values, step)


def _note(learner: Learner, mse: float) -> str:
    epoch = learner.step / learner.plan.steps_per_epoch
    return f"epoch {epoch:.0f}, validation MSE {mse:.5f} (PCA {learner.plan.pca_validation_mse:.5f})"


class _Clock:
    """Times of this process: they say how fast it is and when to save, and decide nothing that is learnt."""

    def __init__(self, learner: Learner) -> None:
        self._began = self._saved = self._line = time.monotonic()
        self._line_step = learner.step

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def since_save(self) -> float:
        return time.monotonic() - self._saved

    def saved(self) -> None:
        self._saved = time.monotonic()

    def line(self, learner: Learner) -> dict[str, float]:
        """Means since the last line of metrics."""
        now = time.monotonic()
        images = (learner.step - self._line_step) * learner.plan.batch
        rate = images / max(now - self._line, 1e-9)
        self._line, self._line_step = now, learner.step
        steps = learner.sums.pop("steps")
        means = {name: total / steps for name, total in learner.sums.items()}
        learner.sums = {}
        epoch = learner.step / learner.plan.steps_per_epoch
        return {"epoch": epoch, **means, "learning_rate": learner.learning_rate, "images_per_second": rate}


# --- figures ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def squared_error(network: Autoencoder, data: Data, rows: Rows, device: torch.device) -> float:
    """Mean squared error per pixel and channel of some images, in [0, 1] units and in fp32, as export computes."""
    total = 0.0
    for batch in _batches(rows):
        x = data.tensor(batch, device)
        total += float((network.decode(network.encode(x)) - x).square().mean(dim=(1, 2, 3)).double().sum())
    return total / len(rows)


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in decibels."""
    return 10 * math.log10(1 / max(mse, 1e-10))


def _final_figures(best: Autoencoder, learner: Learner) -> dict[str, Any]:
    """Figures of the best network on the test images, which were neither trained on nor used to choose it."""
    rows = _evenly(learner.data.test, TEST_IMAGES)
    mse = squared_error(best.to(learner.device), learner.data, rows, learner.device)
    pca_mse = learner.plan.pca_test_mse
    return {
        "steps": learner.step,
        "best_step": learner.best_step,
        "dims": learner.plan.dims,
        "mirror": learner.plan.mirror,
        "train_images": len(learner.data.train),
        "test_images": len(rows),
        "test_mse": mse,
        "pca_test_mse": pca_mse,
        "ratio": mse / max(pca_mse, 1e-12),
        "psnr": psnr(mse),
        "validation_mse": learner.best_mse,
        "pca_validation_mse": learner.plan.pca_validation_mse,
    }


def _order(seed: int, epoch: int, count: int) -> Rows:
    """Order of the training images in one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def _evenly(rows: Rows, limit: int) -> Rows:
    """At most `limit` of the rows, evenly spaced."""
    return rows if len(rows) <= limit else rows[np.linspace(0, len(rows) - 1, limit).astype(np.int64)]


def _batches(rows: Rows, size: int = 128) -> Iterator[Rows]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
