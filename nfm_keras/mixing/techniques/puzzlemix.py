"""PuzzleMix: two images, cut and moved so that both keep what matters in them."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from nfm_keras.backend import random
from nfm_keras.backend.host import call_host
from nfm_keras.checks import check_count, check_number
from nfm_keras.mixing.draw import Draw
from nfm_keras.mixing.labels.pairs import Pair
from nfm_keras.mixing.techniques import puzzle
from nfm_keras.mixing.techniques.base import STREAM, Batch, Technique, has_pixels
from nfm_keras.mixing.techniques.losses import input_gradient, sample_losses
from nfm_keras.types import Tensor

_NOISE_STEP = 2 / 255  # how much further than its radius the adversarial noise goes


@keras.saving.register_keras_serializable(package="nfm_keras")
@dataclasses.dataclass(frozen=True)
class PuzzleMix(Technique):
    """PuzzleMix: a mask of 1, 1/2 and 0 a block, and blocks moved to where it is not 0.

    Saliency is the length of the loss' gradient at a pixel, by the network in inference
    mode, whose state stays as it is. A grid is drawn for the batch. The mask minimises
    the published energy of three labels exactly, by a maximum flow, where the authors'
    alpha-beta swap stops near the minimum; the blocks that are kept are moved by an
    optimal assignment, where theirs is a heuristic. Labels are mixed, a sample at a
    time, by the mean of the mask.

    Two things differ from the authors' code for CIFAR: the loss is the model's own
    (theirs a binary cross-entropy of the softmax), and saliency comes from the network
    in inference mode under `clean_lam` too.

    Args:
        grids: Numbers of blocks a side to draw from; each must divide the image.
        clean_lam: Weight of the loss of the clean images, which is added as a mean
            over the batch, each times its sample weight; 0 for none.
        attack_probability: Probability that adversarial noise is added to the images,
            and, of its own, to their partners.
        attack_epsilon: Largest change by that noise, in units of [0, 1] pixels.

    Raises:
        ValueError: If a number lies outside its range, or, when it meets images, a grid
            does not divide them.

    Example:

    >>> technique = PuzzleMix(grids=(2, 4), attack_probability=0.1)

    Reference:
        [Kim et al., 2020](https://arxiv.org/abs/2009.06962), equation (3) and
        section 4.
    """

    on_host: ClassVar[bool] = True
    cuts: ClassVar[bool] = True

    grids: tuple[int, ...] = (2, 4, 8, 16)
    clean_lam: float = 0.0
    attack_probability: float = 0.0
    attack_epsilon: float = 10 / 255

    def __post_init__(self) -> None:
        grids = self.grids
        if not isinstance(grids, (tuple, list)) or not grids:
            raise ValueError(
                f"`grids` must be a list of at least one number. Received: {grids!r}"
            )
        for grid in grids:
            check_count("grids", grid, least=2)
        object.__setattr__(self, "grids", tuple(grids))
        check_number("clean_lam", self.clean_lam, least=0)
        for name in ("attack_epsilon", "attack_probability"):
            check_number(name, getattr(self, name), least=0, most=1)

    @property
    def clips(self) -> bool:
        return self.attack_probability > 0

    def check(self, shape: tuple[int, ...]) -> None:
        super().check(shape)
        if None in shape[:2]:
            raise ValueError(
                "PuzzleMix must be given images of a size that is known as the step is "
                "traced: set it in the network's input, and by `tf.ensure_shape` in "
                f"the pipeline. Received: shape {tuple(shape)}"
            )
        wrong = [g for g in self.grids if shape[0] % g or shape[1] % g]
        if wrong:
            raise ValueError(
                f"Every grid of PuzzleMix must divide the image; {wrong} of `grids` "
                f"do not. Received: images of {shape[0]}x{shape[1]}, "
                f"grids={list(self.grids)}"
            )

    def prepare(
        self, model: keras.Model, images: Tensor, labels: Tensor, draw: Draw
    ) -> Batch:
        images = self.as_images(images)
        key = random.fold(draw.key, STREAM)
        noise, coins = self._start(images, draw, key)
        gradient = input_gradient(model, images + noise, labels)
        saliency = ops.sqrt(ops.mean(ops.square(gradient), axis=-1))
        mask, first, second = self._solve(images, saliency, draw)
        noise = self._adversarial(noise, gradient, key)
        shown, partners = images, ops.take(images, draw.partner, axis=0)
        if self.attack_probability:
            shift = ops.take(noise, draw.partner, axis=0)
            shown = ops.clip(images + coins[0] * noise, 0.0, 1.0)
            partners = ops.clip(partners + coins[1] * shift, 0.0, 1.0)
        mixed = mask * move(shown, first) + (1 - mask) * move(partners, second)

        def cut(labels, outputs):
            if not has_pixels(labels, images, outputs):
                return None
            partners = ops.take(labels, draw.partner, axis=0)
            return Pair(move(labels, first), move(partners, second), mask[..., 0])

        mean = draw._replace(lam=ops.mean(mask, axis=(1, 2, 3)))
        loss = self._clean_loss(model, images, labels)
        return Batch(mixed, mean, loss=loss, cut=cut)

    def grid_index(self, draw: Draw) -> Tensor:
        """Draws which of `grids` a step takes: one, so that it solves the batch as one.

        Args:
            draw: The step's `Draw`.

        Returns:
            int32 scalar tensor.
        """
        u = random.uniform(random.fold(random.fold(draw.key, STREAM), 0), ())
        index = ops.cast(ops.floor(u * len(self.grids)), "int32")
        return ops.minimum(index, len(self.grids) - 1)

    def _start(self, images, draw, key):
        """Noise at which the saliency is taken, and who gets it: image, partner."""
        if not self.attack_probability:
            return 0.0, None
        coins = random.uniform(random.fold(key, 1), (2,)) < self.attack_probability
        coins = ops.cast(ops.logical_and(coins, draw.site >= 0), "float32")
        noise = random.uniform(random.fold(key, 2), ops.shape(images)) * 2 - 1
        noise = ops.clip(images + self.attack_epsilon * noise, 0.0, 1.0) - images
        return ops.max(coins) * noise, coins

    def _adversarial(self, noise, gradient, key):
        if not self.attack_probability:
            return noise
        epsilon = self.attack_epsilon
        noise = noise + (epsilon + _NOISE_STEP) * ops.sign(gradient)
        strength = random.uniform(random.fold(key, 3), ())
        return strength * ops.clip(noise, -epsilon, epsilon)

    def _solve(self, images, saliency, draw):
        height, width = images.shape[1:3]
        grid = self.grid_index(draw)
        kinds = [((None, height, width, 1), "float32")]
        kinds += 2 * [((None, height * width), "int32")]
        lam, active = ops.reshape(draw.lam, (-1,)), draw.site >= 0
        return call_host(
            self._on_host, kinds, images, saliency, draw.partner, lam, grid, active
        )

    def _on_host(self, images, saliency, partner, lam, grid, active):
        if active:
            return puzzle.solve(images, saliency, partner, lam, self.grids[int(grid)])
        pixels = np.arange(saliency[0].size) + np.zeros((len(images), 1))
        return np.ones((*saliency.shape, 1)), pixels, pixels

    def _clean_loss(self, model, images, labels):
        if not self.clean_lam:
            return None

        def loss(_, weights):
            outputs = model.model(images, training=True)
            losses = sample_losses(model.loss, labels, outputs, weights)
            return self.clean_lam * ops.mean(losses)

        return loss


def move(images, pixels):
    """Moves pixels within their images.

    Args:
        images: `(batch, height, width)` or `(batch, height, width, channels)`.
        pixels: int32 `(batch, height * width)`, the number of the one that comes to
            each place.

    Returns:
        Tensor like `images`.

    Example:

    >>> images = ops.reshape(ops.arange(4.0), (1, 2, 2, 1))
    >>> moved = move(images, ops.convert_to_tensor([[3, 1, 2, 0]]))
    >>> print(ops.convert_to_numpy(moved)[0, ..., 0].tolist())
    [[3.0, 1.0], [2.0, 0.0]]
    """
    batch, height, width, *channels = ops.shape(images)
    flat = ops.reshape(images, (batch * height * width, *channels))
    first = ops.arange(batch, dtype="int32")[:, None] * (height * width)
    return ops.reshape(ops.take(flat, pixels + first, axis=0), ops.shape(images))
