import numpy as np
import pytest

from train.patches import PatchEncoder, _projection


def test_directions_of_few_and_of_many_rows_are_those_of_a_singular_value_decomposition():
    random = np.random.default_rng(0)
    for count, width in ((20, 50), (50, 20)):
        rows = random.normal(size=(count, width)).astype(np.float32) * np.linspace(3, 1, width, dtype=np.float32)
        rows -= rows.mean(axis=0)
        _, values, directions = np.linalg.svd(rows, full_matrices=False)
        found = _projection(rows, 5, 0.0)
        assert np.allclose(np.abs((found * directions[:5]).sum(axis=1)), 1, atol=1e-4)
        whitened = rows @ _projection(rows, 5, 1.0).T
        assert np.allclose(whitened.std(axis=0), 1, atol=1e-3)
        half = rows @ _projection(rows, 5, 0.5).T
        assert np.allclose(half.std(axis=0), np.sqrt(values[:5] / np.sqrt(count)), rtol=1e-3)


def test_codes_are_centred_on_the_images_and_the_same_for_the_same_seed(drawn_pixels):
    images = drawn_pixels[:, :32, :32]
    if images.shape[1:3] != (32, 32):
        pytest.skip("the drawn pictures are smaller than patches need")
    encoder, again, other = (PatchEncoder.fit(images, 6, seed=seed) for seed in (0, 0, 1))
    codes = encoder.encode(images)
    assert codes.shape == (len(images), encoder.dims) and encoder.dims <= 6
    assert np.abs(codes.mean(axis=0)).max() < 1e-3
    assert np.array_equal(codes, again.encode(images))
    assert not np.allclose(codes, other.encode(images))


def test_fewer_images_than_dimensions_give_fewer_dimensions_and_no_image_no_code():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    encoder = PatchEncoder.fit(images, 64)
    assert encoder.dims <= 4
    assert encoder.encode(images[:0]).shape == (0, encoder.dims)
