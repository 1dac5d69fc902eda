from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from export.onnx_export import to_fp16, to_onnx
from export.parity import expect_parity, measure_parity
from train import pca
from train.architectures.principal import GlobalResponseNorm, Principal, PrincipalAutoencoder, thumbnail_factor
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


def started(images: np.ndarray, *, mirror: bool, dims: int = 12, **settings: object) -> PrincipalAutoencoder:
    components = pca.principal_components(images, np.arange(len(images)), dims, mirror=mirror)
    whole = dims + int(settings.get("semantic_dims", 0))
    network = Principal(dims=whole, widths=WIDTHS, **settings).build(images.shape[1], 3)
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
    factor = thumbnail_factor(128, 64)
    assert factor == 2
    components = pca.principal_components(large, np.arange(len(large)), 8, mirror=False, factor=factor)
    network = Principal(dims=8, widths=WIDTHS).build(128, 3).eval()
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
        Principal().check(size, 3)
    if size == 33:
        assert "32 or 48" in str(caught.value)


@torch.no_grad()
def test_branches_near_full_resolution_add_nothing_until_they_are_trained(images):
    components = pca.principal_components(images, np.arange(len(images)), 12, mirror=True)
    network = started(images, mirror=True, clean=16, refine=16, blocks=1, patch=2)
    x = as_tensor(images)
    error = float((network.decode(network.encode(x)) - x).square().mean())
    assert error == pytest.approx(pca.reconstruction_error(components, images, np.arange(len(images))), rel=1e-4)


@torch.no_grad()
def test_a_linear_path_that_expects_noise_starts_as_the_wiener_filter(images):
    rows = np.arange(len(images))
    components = pca.principal_components(images, rows, 12, mirror=True)
    x = as_tensor(images)
    noisy = x + 2.0 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))

    def error(noise: float) -> float:
        network = started(images, mirror=True, noise=noise)
        return float((network.decode(network.encode(noisy)) - x).square().mean())

    wiener = pca.reconstruction_error(components, images, rows, sigma=2.0)
    assert error(2.0) == pytest.approx(wiener, rel=0.05)  # the noise is drawn anew
    assert error(2.0) < error(0.0)


@torch.no_grad()
def test_what_is_cleaned_reaches_both_ways_into_the_code(images):
    network = started(images, mirror=True, clean=16, blocks=1)
    x = as_tensor(images)
    before = network.encode(x)
    network.encoder.clean.last.bias[: 3 * 4].fill_(0.2)  # behind a mask that is half open
    assert torch.allclose(
        network.encode(x), network.encoder.linear((x + 0.1 - network.encoder.mean).flatten(1)), atol=1e-4
    )
    assert not torch.allclose(network.encode(x), before, atol=1e-2)


@pytest.mark.parametrize(
    ("size", "channels", "settings"),
    [
        (32, 3, {"clean": 16, "refine": 16, "blocks": 1}),
        (28, 1, {"patch": 2, "widths": (16, 16)}),
        (32, 3, {"patch": 1, "widths": (16, 16, 16), "refine": 16, "blocks": 2}),
    ],
)
def test_every_kind_of_branch_gives_the_same_as_onnx(images, size, channels, settings):
    pictures = np.ascontiguousarray(images[:, :size, :size])
    components = pca.principal_components(pictures, np.arange(len(pictures)), 12, mirror=False, channels=channels)
    network = Principal(**{"dims": 12, "widths": WIDTHS, **settings}).build(size, channels).eval()
    network.start_from(components)
    with torch.no_grad():
        for parameter in network.parameters():  # as if trained: the branches say something
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.01)
    encoder, decoder = to_onnx(network)
    expect_parity("fp32", measure_parity(network, *(m.SerializeToString() for m in (encoder, decoder)), pictures))
    halves = [to_fp16(model).SerializeToString() for model in (encoder, decoder)]
    expect_parity("fp16", measure_parity(network, *halves, pictures))


def test_the_size_step_follows_the_patch_and_the_number_of_widths():
    Principal(patch=2, widths=(16, 32)).check(28, 1)
    Principal(patch=1, widths=(16, 32, 64)).check(20, 3)
    with pytest.raises(SettingsError, match="multiple of 32 from 32 to 512, for example 32 or 64"):
        Principal(patch=8).check(48, 3)
    with pytest.raises(SettingsError, match="multiple of 2 from 16"):
        Principal(patch=1, widths=(16,), refine=16).check(19, 3)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"patch": 3}, "patch is 3: use one of 1, 2, 4, 8"), ({"widths": ()}, "widths"), ({"noise": -1.0}, "noise")],
)
def test_settings_that_no_network_can_have_are_refused(settings, named):
    with pytest.raises(SettingsError, match=named):
        Principal(**settings)
