"""A recipe: data, architecture, corruption of the input, constraint on the code, loss and training, in one TOML file.

Each section is a frozen dataclass, so that a key that does not exist or does not fit is refused with its line and the
nearest valid one. A kind of architecture, corruption or constraint is added beside the others and named in the table of
its package; nothing here changes.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from train.architectures import ARCHITECTURES, Architecture, Autoencoder
from train.constraints import CONSTRAINTS, Constraint
from train.corruptions import CORRUPTIONS, DAMAGES, Corruption, Gaussian
from train.errors import SettingsError
from train.losses import Loss
from train.recipe_files import DEFAULT_RECIPE, recipe_file
from train.semantic import Semantic

# What a resumed run may be given anew: it changes what the run costs or when it ends, not what it learns from.
_FREE_TO_CHANGE = {f"training.{name}" for name in ("epochs", "minutes", "checkpoint_seconds", "device", "threads")} | {
    "training.precision",
    "semantic.epochs",
    "semantic.share",
    "about.title",
}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """[data]: which images, and how they are seen."""

    dataset: str = ""  # name of a data set, or a file of images; empty: the folder on the command line
    image_size: int = 64  # px
    channels: int = 3  # 1: shades of grey
    classes: tuple[str, ...] = ()  # only images with these labels; empty: all
    mirror: Literal["auto", "yes", "no"] = "auto"  # an image and its mirror image are the same
    validation_share: float = 0.05  # of the images: choose the checkpoint
    test_share: float = 0.05  # of the images, where the set has no test images: not trained on, not used to choose
    most: int = 0  # training images, evenly drawn from all of them; 0: all

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise SettingsError(f"data.channels is {self.channels}: use 3 for colour or 1 for shades of grey.")
        if self.most < 0:
            raise SettingsError(f"data.most is {self.most}: it must be 0 or more.")
        for name in ("validation_share", "test_share"):
            if not 0 < getattr(self, name) < 0.5:
                raise SettingsError(f"data.{name} is {getattr(self, name)}: it must be between 0 and 0.5.")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """[training]: how the weights are found."""

    epochs: int | None = None  # passes over the images; None: DEFAULT_EPOCHS, or what fits into `minutes`
    minutes: float | None = None  # budget of the training itself
    batch: int = 64
    optimiser: Literal["adamw", "adam", "adamax", "sgd"] = "adamw"
    learning_rate: float = 1e-3  # peak; warm-up, then half a cosine
    schedule: Literal["cosine", "constant"] = "cosine"  # of the learning rate after the warm-up
    warm_up: float = 0.05  # share of the steps
    weight_decay: float = 5e-4  # L2 on the weights; decoupled with adamw
    linear_rate: float = 0.02  # of the learning rate, for a linear skip, whose weights are already good
    linear_frozen: float = 1 / 3  # share of the steps in which the linear skip stays as it is
    averaging: float = 0.02  # share of the steps over which weights are averaged (EMA)
    mixing: float = 0.0  # weight of the distance of a mixture of two codes from the code of what it paints
    denoising: float = 0.0  # share of a batch that is seen with noise, words or a box on it and painted without
    code_noise: float = 0.0  # standard deviation added to a code, in deviations of each dimension
    pretraining: float = 0.3  # share of the steps, the first ones, where the architecture is trained layer by layer

    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int | None = None  # None: as many as there are cores
    checkpoint_seconds: float = 30.0  # at most this much work is lost with a kill

    def __post_init__(self) -> None:
        if self.epochs is not None and self.minutes is not None:
            raise SettingsError("epochs and minutes are both given: give one of them.")
        if self.epochs is not None and self.epochs < 0:
            raise SettingsError(f"training.epochs is {self.epochs}: it must be 0 or more.")
        for name in ("learning_rate", "batch"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"training.{name} is {getattr(self, name)}: it must be more than 0.")
        if not 0 <= self.denoising <= 1:
            raise SettingsError(f"training.denoising is {self.denoising}: it must be from 0 to 1.")


@dataclass(frozen=True, kw_only=True)
class About:
    """[about]: for people."""

    title: str = ""  # one line, for the list
    published: str = ""  # the number to beat, and whose it is


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what is learnt; saved whole with the run."""

    name: str = DEFAULT_RECIPE
    about: About = field(default_factory=About)
    data: DataSettings = field(default_factory=DataSettings)
    architecture: Architecture = field(default_factory=ARCHITECTURES["principal"])
    corruption: tuple[Corruption, ...] = ()
    constraint: tuple[Constraint, ...] = ()
    loss: Loss = field(default_factory=Loss)
    semantic: Semantic = field(default_factory=Semantic)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        self.architecture.check(self.data.image_size, self.data.channels)
        if self.data.channels == 1:
            object.__setattr__(self, "corruption", _in_grey(self.corruption))
        if self.training.denoising and self.corruption:
            raise SettingsError(
                f"training.denoising is {self.training.denoising}, and the recipe {self.name} corrupts every image "
                f"already ({', '.join(each.kind for each in self.corruption)}): set training.denoising=0, or "
                "corruption.kind=none."
            )
        if self.loss.features and self.architecture.kind != "similarity":
            raise SettingsError(
                f"loss.features (--decoder sharp) needs the architecture similarity, whose features judge: this one is "
                f"{self.architecture.kind}."
            )

    @classmethod
    def read(cls, name: str, overrides: Mapping[str, Any] | None = None, preset: str | None = None) -> "Recipe":
        """Read a recipe by its name, or a recipe file, with some settings changed.

        Args:
            name: Of a file in train/recipes/, or the path of a TOML file.
            overrides: Dotted keys: {"architecture.dims": 64}.
            preset: One of the recipe's own sets of changes, for a kind of machine; `overrides` come after it.

        Raises:
            SettingsError: There is no such recipe, or one of its keys or values is not valid; the nearest is named.
        """
        file = recipe_file(name)
        text = file.read_text(encoding="utf-8")
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{file.name} is no TOML file ({error}): mend it.") from error
        source = _Source(file.name, text)
        presets = table.pop("preset", {})
        if preset is not None and preset not in presets:
            there = f"it has {', '.join(presets)}" if presets else "it has none"
            raise SettingsError(f"{file.name} has no preset {preset!r}{_nearest(preset, presets)}: {there}.")
        changed = set()
        for key, value in {**presets.get(preset, {}), **(overrides or {})}.items():
            _change(table, key, value)
            changed.add(key)
        return cls.from_json({**table, "name": file.stem}, _Source(source.name, source.text, frozenset(changed)))

    @classmethod
    def from_json(cls, table: Mapping[str, Any], source: "_Source | None" = None) -> "Recipe":
        """Read nested tables, as a TOML file has them and as `to_json` gives them."""
        source = source or _Source("the recipe")
        _refuse_unknown(table, [each.name for each in fields(cls)], "", source)
        return cls(
            name=str(table.get("name", DEFAULT_RECIPE)),
            about=_section(About, table.get("about", {}), "about", source),
            data=_section(DataSettings, table.get("data", {}), "data", source),
            architecture=_kind(ARCHITECTURES, table.get("architecture", {"kind": "principal"}), "architecture", source),
            corruption=_kinds(CORRUPTIONS, table.get("corruption", ()), "corruption", source),
            constraint=_kinds(CONSTRAINTS, table.get("constraint", ()), "constraint", source),
            loss=_section(Loss, table.get("loss", {}), "loss", source),
            semantic=_section(Semantic, table.get("semantic", {}), "semantic", source),
            training=_section(TrainingSettings, table.get("training", {}), "training", source),
        )

    def to_json(self) -> dict[str, Any]:
        """Nested tables with every setting, defaults too."""

        def kind(settings: Any) -> dict[str, Any]:
            return {"kind": settings.kind, **asdict(settings)}

        return {
            "name": self.name,
            "about": asdict(self.about),
            "data": asdict(self.data),
            "architecture": kind(self.architecture),
            "corruption": [kind(each) for each in self.corruption],
            "constraint": [kind(each) for each in self.constraint],
            "loss": asdict(self.loss),
            "semantic": asdict(self.semantic),
            "training": asdict(self.training),
        }

    def differences(self, other: "Recipe") -> list[str]:
        """Settings that a run cannot change on its way and that differ: 'architecture.dims (256, now 128)'."""
        mine, others = _flat(self.to_json()), _flat(other.to_json())
        return [
            f"{key} ({mine.get(key)}, now {others.get(key)})"
            for key in [*mine, *(key for key in others if key not in mine)]
            if key not in _FREE_TO_CHANGE and mine.get(key) != others.get(key)
        ]

    @property
    def outputs(self) -> int:
        """Numbers that the encoder gives for one of the code: 2 where a constraint makes it a distribution."""
        return max((each.outputs for each in self.constraint), default=1)

    @property
    def prior(self) -> str:
        """Distribution that the codes were trained to have, "normal", or empty."""
        return next((each.prior for each in self.constraint if each.prior), "")

    @property
    def semantic_dims(self) -> int:
        """Leading dimensions of the code that say what is shown; 0 for most architectures."""
        return getattr(self.architecture, "semantic_dims", 0)

    @property
    def noise(self) -> float:
        """Standard deviation of the Gaussian noise, where that is all that is done to the input; else 0."""
        return getattr(self.corruption[0], "sigma", 0.0) if len(self.corruption) == 1 else 0.0

    @property
    def damages(self) -> tuple[Corruption, ...]:
        """What is done to the share `training.denoising` of a batch, one of them to each image."""
        return _in_grey(DAMAGES) if self.data.channels == 1 else DAMAGES

    def build(self) -> Autoencoder:
        """Make the network, with random weights."""
        return self.architecture.build(self.data.image_size, self.data.channels, self.outputs)

    @property
    def has_trunk(self) -> bool:
        """Whether features are trained without labels before the decoder is."""
        return bool(getattr(self.architecture, "trunk_widths", ()))

    def without_trunk(self) -> "Recipe":
        """The same without such features: for few images."""
        if not self.has_trunk:
            return self
        architecture: Any = self.architecture
        return replace(self, architecture=replace(architecture, trunk_widths=()))

    def with_dims(self, dims: int) -> "Recipe":
        """The same with another number of dimensions, where the images support fewer."""
        architecture: Any = self.architecture  # one that has `dims`, unlike a spatial code
        return replace(self, architecture=replace(architecture, dims=dims))

    def with_branches(self, settings: Mapping[str, Any]) -> "Recipe":
        """The same with branches of another shape: that of a start (`train.pixel_half.BRANCHES`), as JSON has it."""
        found = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        architecture: Any = self.architecture
        return replace(self, architecture=replace(architecture, **found))


def _in_grey(corruptions: Sequence[Corruption]) -> tuple[Corruption, ...]:
    """The same where shades of grey are seen: three numbers of noise on a grey pixel would average out."""
    return tuple(replace(each, together=True) if isinstance(each, Gaussian) else each for each in corruptions)


# --- reading sections -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """Where tables came from, so that a message can name the line."""

    name: str
    text: str = ""
    changed: frozenset[str] = frozenset()  # dotted keys from the command line

    def where(self, section: str, key: str) -> str:
        if f"{section}.{key}" in self.changed:
            return f"--set {section}.{key}"
        line = self._line(section, key)
        return f"{self.name}, line {line}" if line else self.name

    def _line(self, section: str, key: str) -> int | None:
        here = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := re.match(r"\s*\[+\s*([\w-]+)\s*\]+", line):
                here = header[1]
                if not section and here == key:
                    return number
            elif here == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
                return number
        return None


def _section(kind: type[Any], values: Any, section: str, source: _Source) -> Any:
    """Make a dataclass of a table, refusing keys and types that it does not have."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{source.where('', section)}: {section} must be a table, [{section}].")
    _refuse_unknown(values, [each.name for each in fields(kind)], section, source)
    hints = get_type_hints(kind)
    found = {}
    for key, value in values.items():
        fitted = _fit(value, hints[key])
        if fitted is MISSING:
            raise SettingsError(
                f"{source.where(section, key)}: {section}.{key} is {value!r}, but it must be {_name(hints[key])}."
            )
        found[key] = fitted
    return kind(**found)


def _kind(table: Mapping[str, type[Any]], values: Any, section: str, source: _Source) -> Any:
    """Make the dataclass that `kind` names."""
    if not isinstance(values, Mapping) or "kind" not in values:
        raise SettingsError(
            f"{source.where('', section)}: [{section}] needs a kind, such as kind = {next(iter(table))!r}."
        )
    name = values["kind"]
    if name not in table:
        raise SettingsError(
            f"{source.where(section, 'kind')}: there is no {section} {name!r}{_nearest(str(name), table)}. "
            f"There are {', '.join(table)}."
        )
    return _section(table[name], {key: value for key, value in values.items() if key != "kind"}, section, source)


def _kinds(table: Mapping[str, type[Any]], values: Any, section: str, source: _Source) -> tuple[Any, ...]:
    listed = [values] if isinstance(values, Mapping) else values
    if not isinstance(listed, Sequence):
        raise SettingsError(f"{source.where('', section)}: write [[{section}]] with a kind.")
    return tuple(_kind(table, each, section, source) for each in listed)


def _refuse_unknown(values: Mapping[str, Any], known: Sequence[str], section: str, source: _Source) -> None:
    for key in values:
        if key not in known:
            place = f"[{section}]" if section else "a recipe"
            raise SettingsError(
                f"{source.where(section, key)}: {place} has no {key!r}{_nearest(key, known)}. It has "
                f"{', '.join(known)}."
            )


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _fit(value: Any, hint: Any) -> Any:
    """The value as a type has it; MISSING where it does not fit."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return next((fitted for each in arguments if (fitted := _fit(value, each)) is not MISSING), MISSING)
    if origin is Literal:
        return value if value in arguments else MISSING
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return MISSING
        fitted = tuple(_fit(each, arguments[0]) for each in value)
        return MISSING if MISSING in fitted else fitted
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, bool):
        return MISSING
    return value if isinstance(value, hint) else MISSING


def _name(hint: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_name(each) for each in arguments if each is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin is tuple:
        return f"a list, each {_name(arguments[0])}"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}.get(hint, str(hint))


# --- changing settings ------------------------------------------------------------------------------------------------


def _change(table: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key; a new kind begins its section anew, since the old kind's settings would not fit."""
    section, _, name = key.partition(".")
    if not name:
        raise SettingsError(f"--set {key}: give a section and a key, such as --set architecture.dims=64.")
    if section in ("corruption", "constraint"):
        listed = table.setdefault(section, [])
        listed = table[section] = [listed] if isinstance(listed, dict) else listed
        if name == "kind":
            listed[:] = [] if value == "none" else [{"kind": value}]
            return
        if len(listed) != 1:
            raise SettingsError(
                f"--set {key}: this recipe has {len(listed)} of [[{section}]], so it is not clear which is meant: "
                f"give --set {section}.kind first, or write a recipe file."
            )
        listed[0][name] = value
        return
    if name == "kind" and table.get(section, {}).get("kind") != value:
        table[section] = {}
    table.setdefault(section, {})[name] = value
    # One replaces the other.
    if key == "training.epochs":
        table[section].pop("minutes", None)
    if key == "training.minutes":
        table[section].pop("epochs", None)


def _flat(nested: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables and lists of tables as dotted keys."""
    if isinstance(nested, Mapping):
        return {key: value for name, each in nested.items() for key, value in _flat(each, f"{prefix}.{name}").items()}
    if isinstance(nested, list) and nested and isinstance(nested[0], Mapping):
        return {key: value for n, each in enumerate(nested) for key, value in _flat(each, f"{prefix}.{n}").items()}
    return {prefix.lstrip("."): list(nested) if isinstance(nested, tuple) else nested}


def read_value(text: str) -> Any:
    """What stands behind = in --set: a TOML value, or a text without quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
