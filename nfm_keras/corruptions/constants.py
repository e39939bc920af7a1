"""Names and constants of the common corruptions, keyed by name.

Two sets of constants, one tuple a severity. `cifar`: those of CIFAR-10-C, made for
32 x 32 pixels. `imagenet`: those of ImageNet-C, made for 224 x 224. They are keyed by
name because lists of corruptions come in several orders.

Reference: Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations, ICLR 2019, and the scripts published with it.
"""

import numpy as np

STANDARD = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    *("snow", "frost", "fog", "brightness"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
)
"""The 15 corruptions of the benchmark, in the order of its tables."""

EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The 4 meant for validation."""

NAMES = STANDARD + EXTRA

PAPER = (
    *("gaussian_noise", "jpeg_compression", "impulse_noise"),
    *("shot_noise", "snow", "speckle_noise"),
)
"""The 6 that the Noisy Feature Mixup paper plots."""

GROUPS = {"common_corruptions": STANDARD, "extra_corruptions": EXTRA}
"""Ids that stand for several corruptions at all severities."""

SEVERITIES = (1, 2, 3, 4, 5)

LARGE = 96
"""From so many pixels on the longer side, `auto` means `imagenet`."""


def _zooms(step, *tops):
    # Not linspace: floating point decides whether arange includes its end (at 1.06 and
    # 1.11 it does, at 1.16 it does not), and the published sets were made with it.
    return tuple(tuple(np.arange(1, top, step).tolist()) for top in tops)


CIFAR = {
    # Standard deviation, in units of [0,1].
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    # Photons at full brightness.
    "shot_noise": (500, 250, 100, 75, 50),
    # Share of the values hit.
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
    # Standard deviation relative to the pixel.
    "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),
    # Standard deviation, pixels.
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
    # Standard deviation, largest shift, rounds.
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    # Radius, standard deviation of the smoothing of its edge.
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    # Radius, standard deviation along the line.
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    # Zoom factors.
    "zoom_blur": _zooms(0.01, 1.06, 1.11, 1.16, 1.21, 1.26),
    # Mean, standard deviation, zoom, threshold, radius, sigma, share of the image.
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    # Weights of image and frost, every how many-th texture pixel is read.
    "frost": ((1, 0.2, 5), (1, 0.3, 5), (0.9, 0.4, 5), (0.85, 0.4, 5), (0.75, 0.45, 5)),
    # Amount, decay of the roughness from one scale to the next.
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    # Added to the value.
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    # Share of the contrast kept.
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    # The saturation's factor and summand.
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    # Quality.
    "jpeg_compression": (80, 65, 58, 50, 40),
    # Share of the resolution kept.
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
    # Mean, standard deviation, sigma, threshold, strength, mud instead of water.
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    # Displacement, its smoothness, jitter of the corners, all over the image's side.
    "elastic_transform": (
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ),
}

_SIDE = 244 / 224  # the published ImageNet-C script multiplies by 244, not 224

IMAGENET = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": (60, 25, 12, 5, 3),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
    "gaussian_blur": (1, 2, 3, 4, 6),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": (
        *_zooms(0.01, 1.11, 1.16),
        *_zooms(0.02, 1.21, 1.26),
        *_zooms(0.03, 1.31),
    ),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": (
        (1, 0.4, 1),
        (0.8, 0.6, 1),
        (0.7, 0.7, 1),
        (0.65, 0.7, 1),
        (0.6, 0.75, 1),
    ),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    "jpeg_compression": (25, 18, 15, 10, 7),
    "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
    "spatter": (
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
    "elastic_transform": tuple(
        (alpha * _SIDE, sigma * _SIDE, jitter * _SIDE)
        for alpha, sigma, jitter in (
            (2, 0.7, 0.1),
            (2, 0.08, 0.2),
            (0.05, 0.01, 0.02),
            (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        )
    ),
}

CONSTANTS = {"cifar": CIFAR, "imagenet": IMAGENET}
