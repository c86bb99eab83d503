from __future__ import annotations

import numpy as np

from tests.support.engine.pictures import difference, image, scene, ssim, turned


def test_ssim_tells_a_mirrored_picture_apart() -> None:
    """The similarity of a picture with itself is 1, and with its mirror image far below what tests accept."""
    picture = scene()
    assert abs(ssim(picture, picture) - 1) < 1e-9
    assert ssim(picture, picture[:, ::-1]) < 0.9


def test_ssim_tells_a_blurred_picture_apart() -> None:
    """A picture that lost its detail is less similar than tests accept."""
    noisy = scene() + np.random.default_rng(1).normal(0, 25, scene().shape)
    assert ssim(noisy, scene()) < 0.8


def test_difference_tells_swapped_channels_apart() -> None:
    """Red and blue swapped, which structure alone hardly shows, exceed the colour difference that tests accept."""
    assert difference(scene(), scene()[..., ::-1]) > 20


def test_the_eight_orientations_are_eight_pictures() -> None:
    """No two orientations of the scene are alike, so a wrong turn cannot pass for the right one."""
    shown = {np.asarray(image(turned(scene(), turn))).tobytes() for turn in range(1, 9)}
    assert len(shown) == 8
