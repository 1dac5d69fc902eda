from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from export.onnx_export import to_fp16, to_onnx
from export.parity import expect_parity, measure_parity
from train.architectures.spatial import Spatial, SpatialAutoencoder
from train.errors import SettingsError

SIDE = 32
TUTORIAL = Spatial(code_channels=16, stride=4, widths=(8, 16))
CLEANING = Spatial(code_channels=8, stride=2, widths=(8,), pooling="stride", linear_skip=True, cleaner=8)


@pytest.fixture(scope="module")
def images(drawn_folder) -> torch.Tensor:
    """24 drawn pictures with a little noise, so that no patch is exactly a few components."""

    def read(file: Path) -> np.ndarray:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB").resize((SIDE, SIDE)))

    drawn = np.stack([read(file) for file in sorted(drawn_folder.rglob("*.*g"))[:24]])
    noise = np.random.default_rng(0).normal(0, 4, drawn.shape)
    return torch.from_numpy(np.clip(drawn + noise, 0, 255) / 255).permute(0, 3, 1, 2).float()


def built(settings: Spatial, images: torch.Tensor, *, channels: int = 3, outputs: int = 1) -> SpatialAutoencoder:
    torch.manual_seed(0)
    network = settings.build(images.shape[-1], channels, outputs)
    network.fit(images)
    return network.eval()


def stirred(network: SpatialAutoencoder) -> SpatialAutoencoder:
    """As after some training: nothing is zero any more."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape, generator=random), alpha=0.02)
    return network


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", [TUTORIAL, CLEANING])
@torch.no_grad()
def test_a_code_is_a_grid_that_is_flat_outside_and_pooled_to_search_by(images, settings, channels):
    if channels == 1 and settings.linear_skip:
        settings = Spatial(code_channels=3, widths=(8,), linear_skip=True, cleaner=8)
    network = built(settings, images, channels=channels)
    side = SIDE // settings.stride
    latent = network.encode(images)
    assert network.latent_shape == (settings.code_channels, side, side)
    assert network.latent_dims == settings.code(SIDE)
    assert latent.shape == (24, settings.code(SIDE))
    assert network.decode(latent).shape == images.shape
    embedding = network.embed(latent)
    assert embedding.shape == (24, network.dims) == (24, settings.code_channels * 16)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(24), atol=1e-5)


@torch.no_grad()
def test_a_variational_code_has_twice_the_statistics(images):
    network = built(TUTORIAL, images, outputs=2)
    assert network.statistics(images).shape == (24, 2 * network.latent_dims)
    assert network.encode(images).shape == (24, network.latent_dims)


@pytest.mark.parametrize("dims", [1, 5, 8])
@torch.no_grad()
def test_an_untrained_linear_skip_is_exactly_the_principal_components_of_patches(images, dims):
    settings = Spatial(code_channels=dims, widths=(8,), linear_skip=True, cleaner=8)
    network = built(settings, images)
    patches = F.pixel_unshuffle(images - 0.5, 2).permute(0, 2, 3, 1).reshape(-1, 12).double()
    basis = torch.linalg.svd(patches, full_matrices=False)[2][:dims]
    expected = (patches @ basis.T @ basis).float().reshape(24, SIDE // 2, SIDE // 2, 12).permute(0, 3, 1, 2)
    assert torch.allclose(network.paint(network.encode(images)), F.pixel_shuffle(expected, 2) + 0.5, atol=1e-5)


@torch.no_grad()
def test_as_many_components_as_values_lose_nothing(images):
    network = built(Spatial(code_channels=12, widths=(8,), linear_skip=True), images)
    assert torch.allclose(network.decode(network.encode(images)), images, atol=1e-5)


@torch.no_grad()
def test_larger_pictures_may_be_done_by_tiles_that_overlap(images):
    settings = Spatial(code_channels=8, stride=2, widths=(8,), pooling="stride", linear_skip=True)
    network = stirred(built(settings, images))
    moved = images.roll(4, dims=3)
    straight, shifted = (network.decode(network.encode(x)) for x in (images, moved))
    assert network.tileable
    # Away from the rim a picture that is moved by whole places comes back as it was, moved.
    assert torch.allclose(shifted[:, :, 8:-8, 12:-8], straight.roll(4, dims=3)[:, :, 8:-8, 12:-8], atol=1e-5)


def test_training_reaches_the_cleaner_and_both_convolutions(images):
    network = built(CLEANING, images)
    for _ in range(8):  # layers that start at zero hide those before them in the first steps
        loss = (network.paint(network.encode(images)) - images.flip(0)).square().mean()
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weight in network.parameters():
                weight.sub_(weight.grad, alpha=0.1)
    assert all(float(weight.grad.abs().max()) > 0 for weight in network.parameters())


@pytest.mark.parametrize("settings", [TUTORIAL, CLEANING])
def test_the_exported_graphs_compute_what_the_network_computes(images, settings):
    network = stirred(built(settings, images))
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    encoder, decoder = to_onnx(network)
    expect_parity("fp32", measure_parity(network, encoder.SerializeToString(), decoder.SerializeToString(), pixels))
    half = [to_fp16(graph).SerializeToString() for graph in (encoder, decoder)]
    expect_parity("fp16", measure_parity(network, *half, pixels))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": 3}, "stride is 3: use 2, 4, 8"),
        ({"stride": 4, "widths": (8,)}, "a stride of 4 needs 2"),
        ({"code_channels": 0}, "code_channels must be 1 or more"),
        ({"activation": "swish"}, "activation is 'swish': use one of elu"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        Spatial(**settings)


def test_sizes_and_codes_that_do_not_go_together_are_refused():
    with pytest.raises(SettingsError, match="use a multiple of 4, for example 28 or 32"):
        TUTORIAL.build(30, 3)
    with pytest.raises(SettingsError, match="a patch has 12 numbers"):
        Spatial(code_channels=13, linear_skip=True).build(SIDE, 3)
    with pytest.raises(SettingsError, match="a patch has 4 numbers"):
        CLEANING.build(SIDE, 1)
    with pytest.raises(SettingsError, match="linear_skip = false"):
        CLEANING.build(SIDE, 3, outputs=2)
