import numpy as np
import pytest

from train import pca


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """120 smooth colour gradients with a little noise, 16 x 16: a spectrum that falls quickly."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:1:16j, 0:1:16j]
    waves = np.stack([np.cos(np.pi * (i * x + j * y)) / (1 + i + j) for i in range(4) for j in range(4)])
    pictures = np.einsum("nkc,khw->nhwc", random.normal(size=(120, 16, 3)), waves)
    return np.clip(128 + 40 * pictures + random.normal(0, 3, pictures.shape), 0, 255).astype(np.uint8)


def flat(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1).astype(np.float64) / 255


def test_the_components_are_those_of_a_singular_value_decomposition(images):
    found = pca.principal_components(images, np.arange(120), 10, mirror=False)
    x = flat(images)
    centred = x - x.mean(0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(np.abs(np.sum(found.basis * directions[:10], axis=1)), 1, atol=1e-4)
    assert np.allclose(found.deviations, singular[:10] / np.sqrt(120), rtol=1e-4)


def test_images_or_pixels_being_fewer_makes_no_difference(images):
    grown = np.tile(images, (8, 1, 1, 1))  # 960 images of 768 pixels: the other method
    few, many = (pca.principal_components(x, np.arange(len(x)), 10, mirror=False) for x in (images, grown))
    assert np.allclose(few.deviations, many.deviations, rtol=1e-3)


def test_the_randomised_method_loses_next_to_nothing(images, monkeypatch):
    rows = np.arange(120)
    exact = pca.reconstruction_error(pca.principal_components(images, rows, 20, mirror=False), images, rows)
    monkeypatch.setattr(pca, "EXACT_SIDE", 0)
    randomised = pca.reconstruction_error(pca.principal_components(images, rows, 20, mirror=False), images, rows)
    assert randomised == pytest.approx(exact, rel=1e-3)


def test_mirroring_an_image_turns_the_sign_of_the_antisymmetric_coordinates_alone(images):
    found = pca.principal_components(images, np.arange(120), 12, mirror=True)
    assert 0 < found.antisymmetric.sum() < 12
    signs = 1 - 2 * found.antisymmetric
    straight = (flat(images) - found.mean) @ found.basis.T
    turned = (flat(images[:, :, ::-1]) - found.mean) @ found.basis.T
    assert np.allclose(turned, straight * signs, atol=1e-4)
    assert np.allclose(found.basis @ found.basis.T, np.eye(12), atol=1e-5)


def test_the_error_is_that_of_the_slow_computation(images):
    found = pca.principal_components(images, np.arange(100), 8, mirror=True)
    x = flat(images[100:])
    rebuilt = np.clip(found.mean + (x - found.mean) @ found.basis.T @ found.basis, 0, 1)
    expected = np.mean((rebuilt - x) ** 2)
    assert pca.reconstruction_error(found, images, np.arange(100, 120)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("mirror", [True, False])
def test_no_more_components_come_back_than_the_images_support(images, mirror):
    assert pca.principal_components(images, np.arange(9), 64, mirror=mirror).dims == 8


def test_images_that_are_all_the_same_have_no_components():
    grey = np.full((20, 16, 16, 3), 128, np.uint8)
    assert pca.principal_components(grey, np.arange(20), 4, mirror=False).dims == 0
