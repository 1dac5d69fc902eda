import dataclasses

import numpy as np
import pytest
import torch

from export.onnx_export import to_fp16, to_onnx
from export.parity import expect_parity, measure_parity
from train import pca
from train.architectures.similarity import (
    PatchResponses,
    SemanticEncoder,
    Similarity,
    SimilarityAutoencoder,
    colour_histogram,
)
from train.data import Data
from train.errors import SettingsError
from train.interruption import stop_request
from train.invariance import directions, fit_semantic_half
from train.patches import PatchEncoder, whitened_patches
from train.progress import Reporter
from train.recipe import Recipe
from train.views import VIEWS

SMALL = {"widths": (16, 16), "filters": 16, "semantic_dims": 4, "dims": 12}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """64 pictures: blocks of random colours, which patches and histograms tell apart."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (64, 4, 4, 3), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def fitted(
    images: np.ndarray, *, whitening: float = 0.0, neighbours: int = 0, **settings: object
) -> SimilarityAutoencoder:
    network = Similarity(**{**SMALL, **settings}).build(images.shape[1], 3)
    rows = np.arange(len(images))
    components = pca.principal_components(images, rows, network.pixel_dims, mirror=True)
    network.start_from(components)
    network.semantic.fit_patches(as_tensor(images), seed=0)
    fit(network.semantic, images, whitening, neighbours)
    return network.eval()


def fit(encoder: SemanticEncoder, images: np.ndarray, whitening: float, neighbours: int = 0) -> None:
    rows = np.arange(len(images))
    with stop_request() as stop:
        fit_semantic_half(
            encoder,
            Data(images, rows, rows[:8], rows[:8]),
            VIEWS["balanced"],
            mirror=True,
            whitening=whitening,
            neighbours=neighbours,
            seed=0,
            device=torch.device("cpu"),
            reporter=Reporter(),
            stop=stop,
        )


@torch.no_grad()
def test_responses_are_those_of_the_encoder_without_pytorch(images):
    encoder = PatchEncoder.fit(images, 8, seed=0)
    layer = PatchResponses(len(encoder.filters), 2, 32)
    layer.take(torch.from_numpy(encoder.filters), torch.from_numpy(encoder.offsets))
    ours = layer(as_tensor(images))
    # Positive parts of all filters, each with its quarters, here; quarters with their filters there.
    quarters = ours.reshape(len(ours), 2, -1, 4).transpose(2, 3).flatten(1)
    theirs = (quarters - torch.from_numpy(encoder.mean)) @ torch.from_numpy(encoder.projection).T
    assert np.allclose(theirs.numpy(), encoder.encode(images), atol=5e-2 * float(theirs.std()))


def test_filters_see_no_mean_and_whitened_patches_have_unit_responses():
    noise = np.random.default_rng(1).integers(0, 256, (50, 32, 32, 3), np.uint8)
    filters, offsets = whitened_patches(noise, 32, np.random.default_rng(0))
    assert filters.shape == (32, 108)
    assert np.abs(filters.mean(axis=1)).max() < 0.02
    assert np.abs(offsets).max() < 0.1
    # Patches of noise are white already: the whitening leaves the length of a filter about as it is.
    assert np.allclose(np.linalg.norm(filters, axis=1), 1 / np.sqrt(1.1), rtol=0.1)


@torch.no_grad()
def test_a_histogram_counts_colours_and_its_square_sums_to_one(images):
    found = colour_histogram(as_tensor(images))
    assert found.shape == (64, 512)
    assert torch.allclose(found.square().sum(1), torch.ones(64), atol=2e-3)
    moved = colour_histogram(as_tensor(images).flip(2, 3))
    assert torch.allclose(found, moved, atol=1e-4)


@pytest.mark.parametrize("size", [16, 32, 48, 64, 80])
@torch.no_grad()
def test_images_of_any_size_have_a_semantic_half(size):
    network = Similarity(**{**SMALL, "widths": (16,), "trunk_widths": (8, 16), "trunk_stride": 4}).build(size, 3)
    x = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    latent = network.encode(x)
    assert latent.shape == (3, 12)
    assert torch.isfinite(network.embed(latent)).all()


@torch.no_grad()
def test_a_map_that_keeps_neighbours_is_as_long_as_asked_and_another_one_than_the_closed_form(images):
    plain, learnt = (fitted(images, neighbours=neighbours).semantic for neighbours in (0, 24))
    assert learnt.projection.shape == plain.projection.shape
    assert not torch.allclose(learnt.projection, plain.projection, atol=1e-3)
    half = learnt(as_tensor(images))
    assert torch.isfinite(half).all()
    assert half.square().mean() == pytest.approx(1, rel=0.1)  # as the pixel half has it


def test_directions_solve_the_generalised_eigenproblem():
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn((2, 30, 6), generator=random, dtype=torch.float64)
    between, within = a.T @ a / 30, 0.1 * b.T @ b / 30
    for whitening, length in ((0.0, 1.0), (1.0, None)):
        rows = directions(between, within, 3, whitening)
        ridge = 0.1 * between.diagonal().mean() * torch.eye(6, dtype=torch.float64)
        views, spread = rows @ (within + ridge) @ rows.T, rows @ between @ rows.T
        assert torch.allclose(views, torch.diag(views.diagonal()), atol=1e-9)
        assert torch.allclose(spread, torch.diag(spread.diagonal()), atol=1e-9)
        if length:
            assert torch.allclose(views.diagonal(), torch.full((3,), length, dtype=torch.float64))
            assert (spread.diagonal().diff() <= 1e-9).all()
        else:
            assert torch.allclose(spread.diagonal(), torch.ones(3, dtype=torch.float64), atol=1e-9)


@torch.no_grad()
def test_the_semantic_half_is_nearer_to_views_of_an_image_than_the_pixel_half_is(images):
    network = fitted(images, dims=24, semantic_dims=12)
    x = as_tensor(images)
    view = VIEWS["balanced"](x, torch.Generator().manual_seed(9), mirror=True)
    latents, viewed = network.encode(x), network.encode(view)

    def found(a: torch.Tensor, b: torch.Tensor) -> float:
        scores = torch.nn.functional.normalize(b, dim=1) @ torch.nn.functional.normalize(a, dim=1).T
        return float((scores.argmax(1) == torch.arange(len(a))).float().mean())

    semantic = found(latents[:, :12], viewed[:, :12])
    pixel = found(latents[:, 12:].abs(), viewed[:, 12:].abs())
    assert semantic > max(0.5, pixel)


@torch.no_grad()
def test_the_semantic_half_is_centred_with_a_mean_square_of_one(images):
    semantic = fitted(images).encode(as_tensor(images))[:, :4]
    assert float(semantic.mean(0).abs().max()) < 1e-3
    assert float(semantic.square().mean()) == pytest.approx(1, rel=1e-2)


@torch.no_grad()
def test_before_training_the_picture_is_what_principal_components_rebuild(images):
    network = fitted(images)
    x = as_tensor(images)
    components = pca.principal_components(images, np.arange(len(images)), network.pixel_dims, mirror=True)
    error = float((network.decode(network.encode(x)) - x).square().mean())
    assert error == pytest.approx(pca.reconstruction_error(components, images, np.arange(len(images))), rel=1e-3)


@pytest.mark.parametrize("trunk", [(), (8, 16)])
def test_onnx_graphs_compute_the_same_in_both_formats(images, trunk):
    network = fitted(images, trunk_widths=trunk)
    encoder, decoder = to_onnx(network)
    for variant, graphs in (("fp32", (encoder, decoder)), ("fp16", (to_fp16(encoder), to_fp16(decoder)))):
        expect_parity(variant, measure_parity(network, *(graph.SerializeToString() for graph in graphs), images))


def test_the_semantic_half_stays_as_it_is_while_the_decoder_learns(images):
    network = fitted(images, trunk_widths=(8, 16)).train()
    assert not network.semantic.training
    assert not any(weight.requires_grad for weight in network.semantic.parameters())
    before = {name: value.clone() for name, value in network.semantic.state_dict().items()}
    network.paint(network.statistics(as_tensor(images))).square().mean().backward()
    assert all(torch.equal(value, before[name]) for name, value in network.semantic.state_dict().items())


def test_pictures_that_are_all_alike_get_a_finite_code():
    same = np.full((20, 32, 32, 3), 128, np.uint8)
    encoder = Similarity(**SMALL).build(32, 3).semantic
    encoder.fit_patches(as_tensor(same), seed=0)
    fit(encoder, same, 0.0)
    with torch.no_grad():
        assert torch.isfinite(encoder(as_tensor(same))).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"semantic_dims": -1}, "semantic_dims"),
        ({"trunk_stride": 3}, "trunk_stride"),
        ({"trunk_widths": (0,)}, "trunk_widths"),
        ({"cells": 9}, "cells"),
        ({"semantic_dims": 12}, "dims"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(change, named):
    with pytest.raises(SettingsError, match=named):
        Similarity(**{**SMALL, **change})


def test_an_eighth_of_the_dimensions_is_semantic_where_nothing_else_is_said():
    assert Similarity(dims=64).semantic_dims == 8
    assert Similarity(dims=2).semantic_dims == 1
    assert Recipe.read("similarity", {"architecture.dims": 16}).semantic_dims == 2


def test_a_preset_changes_what_it_says_and_the_command_line_comes_after_it():
    plain, large = Recipe.read("similarity"), Recipe.read("similarity", preset="gpu")
    assert large.architecture.trunk_widths[-1] > plain.architecture.trunk_widths[-1]
    asked = Recipe.read("similarity", {"semantic.epochs": 3}, preset="gpu")
    assert dataclasses.replace(asked.semantic, epochs=large.semantic.epochs) == large.semantic
    with pytest.raises(SettingsError, match="cpu-small"):
        Recipe.read("similarity", preset="cpu-smal")
    with pytest.raises(SettingsError, match="has none"):
        Recipe.read("principal", preset="gpu")
