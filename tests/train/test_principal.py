from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from train import pca
from train.architectures.principal import Autoencoder, GlobalResponseNorm, thumbnail_factor
from train.config import TrainConfig
from train.errors import SettingsError

WIDTHS = (16, 16, 16)


@pytest.fixture(scope="module")
def images(drawn_folder) -> np.ndarray:
    def read(file: Path) -> np.ndarray:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB").resize((32, 32)))

    return np.stack([read(file) for file in sorted(drawn_folder.rglob("*.*g"))])


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def started(images: np.ndarray, *, mirror: bool, dims: int = 12, **settings: object) -> Autoencoder:
    components = pca.principal_components(images, np.arange(len(images)), dims, mirror=mirror)
    network = Autoencoder(images.shape[1], WIDTHS, pixel_dims=dims, **settings)
    network.start_from(components)
    return network.eval()


@pytest.mark.parametrize("mirror", [True, False])
@torch.no_grad()
def test_an_untrained_network_is_exactly_pca(images, mirror):
    components = pca.principal_components(images, np.arange(len(images)), 12, mirror=mirror)
    network = started(images, mirror=mirror)
    x = as_tensor(images)
    error = float((network.decode(network.encode(x)) - x).square().mean())
    assert error == pytest.approx(pca.reconstruction_error(components, images, np.arange(len(images))), rel=1e-4)


@torch.no_grad()
def test_latents_are_half_whitened_with_a_mean_square_of_one(images):
    network = started(images, mirror=False)
    components = pca.principal_components(images, np.arange(len(images)), 12, mirror=False)
    latents = network.encode(as_tensor(images))
    deviations = latents.square().mean(0).sqrt().numpy()
    assert np.allclose(deviations, network.deviation.numpy(), rtol=1e-3)
    assert np.allclose(deviations**2 / deviations[0] ** 2, components.deviations / components.deviations[0], rtol=1e-3)
    assert float(latents.square().mean()) == pytest.approx(1, rel=1e-3)


@torch.no_grad()
def test_a_mirrored_image_has_the_same_embedding_and_another_latent(images):
    network = started(images, mirror=True)
    x = as_tensor(images)
    straight, turned = network.encode(x), network.encode(x.flip(3))
    assert not torch.allclose(straight, turned, atol=0.1)
    scores = (network.embed(straight) * network.embed(turned)).sum(1)
    # The branches add nothing yet; the linear skip alone is exactly symmetric.
    assert torch.allclose(scores, torch.ones(len(x)), atol=1e-4)


@torch.no_grad()
def test_both_halves_of_an_embedding_have_their_weight(images):
    network = started(images, mirror=True, semantic_dims=4, alpha=0.5)
    embeddings = network.embed(network.encode(as_tensor(images)))
    assert embeddings.shape == (len(images), network.dims) == (len(images), 16)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(len(images)), atol=1e-5)
    ratio = embeddings[:, 4:].norm(dim=1) / embeddings[:, :4].norm(dim=1)
    assert torch.allclose(ratio, torch.full_like(ratio, 0.5), atol=1e-4)


def test_the_semantic_half_reaches_the_decoder(images):
    network = started(images, mirror=True, semantic_dims=4)
    for stage in network.decoder.stages:
        torch.nn.init.normal_(stage.film.weight)
    torch.nn.init.normal_(network.decoder.paint.weight)
    latent = torch.zeros(1, 16, requires_grad=True)
    network.paint(latent).square().sum().backward()
    assert float(latent.grad[:, :4].abs().sum()) > 0


@torch.no_grad()
def test_an_image_is_encoded_alike_alone_and_in_a_batch(images):
    network = started(images, mirror=True)
    for parameter in network.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.02)
    x = as_tensor(images)
    assert torch.allclose(network.encode(x)[3:4], network.encode(x[3:4]), atol=1e-4)


@torch.no_grad()
def test_a_large_image_takes_the_linear_way_as_a_thumbnail(images):
    large = images.repeat(4, axis=1).repeat(4, axis=2)  # 128 px
    factor = thumbnail_factor(128)
    assert factor == 2
    components = pca.principal_components(large, np.arange(len(large)), 8, mirror=False, factor=factor)
    network = Autoencoder(128, WIDTHS, pixel_dims=8).eval()
    network.start_from(components)
    painted = network.decode(network.encode(as_tensor(large)))
    assert painted.shape == (len(large), 3, 128, 128)
    assert float((painted - as_tensor(large)).square().mean()) < float(as_tensor(large).var())


@torch.no_grad()
def test_the_norm_starts_as_the_identity():
    x = torch.randn(2, 5, 4, 4)
    assert torch.equal(GlobalResponseNorm(5)(x), x)


@pytest.mark.parametrize("size", [33, 40, 0, 8, 1000])
def test_a_size_that_cannot_be_halved_four_times_is_refused_with_the_nearest_ones(size):
    with pytest.raises(SettingsError, match="use a multiple of 16") as caught:
        TrainConfig(image_size=size)
    if size == 33:
        assert "32 or 48" in str(caught.value)
