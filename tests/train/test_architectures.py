import numpy as np
import pytest
import torch

from train import pca
from train.architectures import ARCHITECTURES
from train.architectures.dense import Dense
from train.architectures.linear import Linear
from train.architectures.spatial import Spatial
from train.errors import SettingsError


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    smooth = np.random.default_rng(0).random((40, 4, 4, 3))
    return (smooth.repeat(4, 1).repeat(4, 2) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def images(pixels) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_the_linear_network_is_pca(pixels, images, channels):
    rows = np.arange(len(pixels))
    components = pca.principal_components(pixels, rows, 8, mirror=False, channels=channels)
    network = Linear(dims=8).build(16, channels)
    network.start_from(components)
    painted = network.decode(network.encode(images))
    error = float((painted - network.show(network.see(images))).square().mean())
    assert error == pytest.approx(pca.reconstruction_error(components, pixels, rows, channels=channels), rel=1e-4)


@torch.no_grad()
def test_a_grey_network_takes_colours_by_their_luminance_and_gives_three_equal_channels(images):
    network = Dense(dims=4, widths=()).build(16, 1)
    grey = network.show(network.see(images))
    assert torch.allclose(network.encode(images), network.encode(grey), atol=1e-5)
    painted = network.decode(network.encode(images))
    assert torch.equal(painted[:, 0], painted[:, 2])


def test_layer_by_layer_training_moves_one_layer_and_its_counterpart(images):
    network = Dense(dims=4, widths=(16, 8), pretraining=True).build(16, 3)
    assert network.pretraining_stages == 3
    for stage in range(3):
        network.zero_grad()
        network.pretraining_loss(stage, images).backward()
        moved = [layer.weight.grad is not None for layer in network.encoder]
        back = [layer.weight.grad is not None for layer in network.decoder]
        assert moved == [n == stage for n in range(3)]
        assert back == [n == 2 - stage for n in range(3)]


@torch.no_grad()
def test_patches_start_as_their_principal_components(images):
    network = Spatial(code_channels=3, stride=2, widths=(8,), linear_skip=True, cleaner=8).build(16, 3)
    network.fit(images)
    # Patches of 2 x 2 px of one colour: three components hold everything.
    assert torch.allclose(network.decode(network.encode(images)), images, atol=1e-3)


@torch.no_grad()
def test_a_spatial_code_is_made_from_what_is_near(images):
    network = Spatial(code_channels=4, stride=4, widths=(8, 8)).build(16, 3).eval()
    changed = images.clone()
    changed[:, :, :2, :2] = 0
    before, after = (network.encode(x).reshape(-1, 4, 4, 4) for x in (images, changed))
    assert torch.allclose(before[:, :, 3, 3], after[:, :, 3, 3], atol=1e-5)
    assert not torch.allclose(before[:, :, 0, 0], after[:, :, 0, 0], atol=1e-3)


@torch.no_grad()
def test_a_fine_spatial_code_is_searched_by_in_sixteen_cells(images):
    network = Spatial(code_channels=4, stride=2, widths=(8,)).build(16, 3).eval()
    assert (network.latent_dims, network.dims) == (4 * 8 * 8, 4 * 4 * 4)
    assert network.embed(network.encode(images)).shape == (40, 64)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stride": 3}, "power of 2"),
        ({"stride": 4, "widths": (8,)}, "needs 2 of them"),
        ({"code_channels": 0}, "1 or more"),
    ],
)
def test_a_spatial_code_that_cannot_be_is_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        Spatial(**settings)


@pytest.mark.parametrize("kind", ["dense", "convolutional", "spatial"])
def test_a_network_for_distributions_gives_two_numbers_for_each_of_the_code(kind, images):
    settings = {"widths": (8,)} if kind != "spatial" else {"widths": (8,), "stride": 2}
    network = ARCHITECTURES[kind](**settings).build(16, 3, outputs=2)
    assert network.statistics(images).shape == (40, 2 * network.latent_dims)
    assert network.encode(images).shape == (40, network.latent_dims)
