import json
import tomllib
from pathlib import Path

import pytest
import torch

from train.errors import NothingFoundError, SettingsError
from train.recipe import Recipe, read_value
from train.recipe_files import recipe_file, recipe_names, recipe_titles


def write(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_builds_a_network_that_encodes_embeds_and_decodes(name):
    recipe = Recipe.read(name)
    network = recipe.build().eval()
    size = recipe.data.image_size
    with torch.no_grad():
        x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        latent = network.encode(x)
        assert latent.shape == (2, network.latent_dims) == (2, recipe.architecture.code(size))
        assert network.decode(latent).shape == x.shape
        embedding = network.embed(latent + 0.1)
    assert embedding.shape == (2, network.dims)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(2), atol=1e-3)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_what_it_is_for_and_why(name):
    assert {each: title for each, title, _ in recipe_titles()}[name]
    assert recipe_file(name).read_text().startswith("# ")


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_comes_back_whole_from_json(name):
    recipe = Recipe.read(name)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_a_setting_can_be_changed_by_its_dotted_key():
    changed = Recipe.read("lfw-conv-32", {"architecture.dims": 8, "training.minutes": 2.0, "data.classes": ["a"]})
    assert changed.architecture.dims == 8
    assert (changed.training.minutes, changed.training.epochs) == (2.0, None)
    assert changed.data.classes == ("a",)


def test_a_new_kind_begins_its_section_anew():
    changed = Recipe.read("lfw-conv-32", {"architecture.kind": "linear", "architecture.dims": 8})
    assert (changed.architecture.kind, changed.architecture.dims) == ("linear", 8)


def test_a_corruption_can_be_added_changed_and_taken_away():
    assert Recipe.read("lfw-denoise-512", {"corruption.sigma": 0.2}).corruption[0].sigma == 0.2
    added = Recipe.read("lfw-conv-32", {"corruption.kind": "dropout", "corruption.share": 0.3})
    assert added.corruption[0].share == 0.3
    assert Recipe.read("lfw-denoise-512", {"corruption.kind": "none"}).corruption == ()


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(SettingsError, match=r"did you mean .*lfw-conv-32"):
        Recipe.read("lfw-cnv-32")
    with pytest.raises(NothingFoundError, match=r"no recipe file missing\.toml"):
        Recipe.read("missing.toml")


def test_an_unknown_key_is_refused_with_its_line_and_the_nearest(tmp_path):
    text = '[data]\nimage_size = 32\n\n[architecture]\nkind = "dense"\ndimms = 8\n'
    with pytest.raises(SettingsError, match=r"mine\.toml, line 6: \[architecture\] has no 'dimms'; did you mean dims"):
        Recipe.read(write(tmp_path, text))


def test_an_unknown_section_kind_or_option_names_the_nearest(tmp_path):
    with pytest.raises(SettingsError, match=r"line 1: a recipe has no 'architectur'; did you mean architecture"):
        Recipe.read(write(tmp_path, '[architectur]\nkind = "dense"\n'))
    with pytest.raises(SettingsError, match=r"line 2: there is no corruption 'gausian'; did you mean gaussian"):
        Recipe.read(write(tmp_path, '[[corruption]]\nkind = "gausian"\n'))
    with pytest.raises(SettingsError, match=r"--set training\.learning_rat: \[training\] has no .*learning_rate"):
        Recipe.read("lfw-conv-32", {"training.learning_rat": 1.0})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("architecture.dims", "many", "it must be a whole number"),
        ("training.epochs", True, "it must be a whole number"),
        ("training.optimiser", "adma", "one of 'adamw', 'adam', 'adamax', 'sgd'"),
        ("data.channels", 2, "use 3 for colour or 1"),
        ("data.test_share", 0.9, "between 0 and 0.5"),
        ("architecture.activation", "gelu", "use one of elu"),
        ("loss.structure", -1.0, "0 or more"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_would(key, value, said):
    with pytest.raises(SettingsError, match=said):
        Recipe.read("lfw-conv-32", {key: value})


def test_a_size_that_does_not_divide_names_sizes_that_do():
    with pytest.raises(SettingsError, match="use a multiple of 16, for example 32 or 48"):
        Recipe.read("lfw-conv-32", {"data.image_size": 40})


def test_values_on_the_command_line_are_toml_or_plain_text():
    texts = ("3", "0.5", "[1, 2]", '"a"', "word", "true")
    assert [read_value(text) for text in texts] == [3, 0.5, [1, 2], "a", "word", True]


def test_only_settings_that_shape_what_is_learnt_tie_a_run():
    begun = Recipe.read("principal", {"architecture.dims": 64, "training.minutes": 5.0})
    again = {"architecture.dims": 64, "training.epochs": 3, "training.threads": 1}
    assert begun.differences(Recipe.read("principal", again)) == []
    other = Recipe.read("principal", {"architecture.dims": 32, "training.seed": 1})
    assert begun.differences(other) == ["architecture.dims (64, now 32)", "training.seed (0, now 1)"]


def test_recipes_are_valid_toml_with_known_sections():
    for name in recipe_names():
        table = tomllib.loads(recipe_file(name).read_text())
        sections = {"about", "data", "architecture", "corruption", "constraint", "loss", "semantic", "training"}
        assert table.keys() <= sections | {"preset"}
