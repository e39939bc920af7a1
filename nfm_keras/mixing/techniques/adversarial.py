"""Adversarial training: the network learns from images moved against it."""

import dataclasses

import keras
from keras import ops

from nfm_keras.backend import ascent, random
from nfm_keras.checks import check_count, check_radius
from nfm_keras.mixing.draw import Draw
from nfm_keras.mixing.techniques.base import STREAM, Batch, Technique
from nfm_keras.mixing.techniques.losses import input_gradient
from nfm_keras.types import Tensor

NORMS = ("linf", "l2")
_TINY = 1e-12


@keras.saving.register_keras_serializable(package="nfm_keras")
@dataclasses.dataclass(frozen=True)
class Adversarial(Technique):
    """Training on PGD examples, made anew in every step.

    Gradient ascent on the model's own loss, from a random start in the ball, with steps
    of `2.5 * attack_epsilon / attack_steps`. The network attacked is the one in
    inference mode: no statistic moves, nothing drops out, and sites are silent. If the
    `Mixing` is not the identity, the sites then mix the adversarial images.

    Args:
        attack_epsilon: Radius of the ball, in units of [0, 1] pixels.
        attack_norm: `"linf"` or `"l2"`.
        attack_steps: Number of gradient steps.

    Raises:
        ValueError: For another norm, or a number out of its range.

    Example:

    >>> technique = Adversarial(attack_epsilon=0.5, attack_norm="l2")

    Reference:
        [Madry et al., 2018](https://arxiv.org/abs/1706.06083), section 2.1; the
        comparison in [Lim et al., 2021](https://arxiv.org/abs/2110.02180), appendix
        F.6, has 7 steps.
    """

    attack_epsilon: float = 8 / 255
    attack_norm: str = "linf"
    attack_steps: int = 7

    def __post_init__(self) -> None:
        if self.attack_norm not in NORMS:
            raise ValueError(
                f"`attack_norm` must be one of {NORMS}. Received: {self.attack_norm!r}"
            )
        check_radius("attack_epsilon", self.attack_epsilon, self.attack_norm, above=0)
        check_count("attack_steps", self.attack_steps)

    @property
    def clips(self) -> bool:
        return True

    def prepare(
        self, model: keras.Model, images: Tensor, labels: Tensor, draw: Draw
    ) -> Batch:
        images = self.as_images(images)
        size = 2.5 * self.attack_epsilon / self.attack_steps
        start = self.start(random.fold(draw.key, STREAM), ops.shape(images))
        moved = ops.clip(images + start, 0.0, 1.0)
        # A Python loop, so that no convolution sits in a compiled one, which XLA runs
        # many times slower on a CPU.
        for _ in range(self.attack_steps):
            gradient, _ = ascent.checked(input_gradient(model, moved, labels))
            moved = moved + size * ascent.steepest(gradient, self.attack_norm)
            moved = ops.clip(images + self.project(moved - images), 0.0, 1.0)
        moved = ops.where(draw.site >= 0, ops.stop_gradient(moved), images)
        return Batch(moved, draw, None if model.mixing.is_identity else draw)

    def start(self, key: Tensor, shape: tuple) -> Tensor:
        """Draws perturbations that are uniform in the ball.

        Args:
            key: A key.
            shape: `(batch, height, width, channels)`.
        """
        if self.attack_norm == "linf":
            return self.attack_epsilon * (2 * random.uniform(key, shape) - 1)
        low, _ = random.halves(random.fold(key, 0), shape)
        directions = ascent.steepest(random.noise_normal(low, "float32"), "l2")
        size = 1
        for axis in shape[1:]:
            size *= axis
        radius = random.uniform(random.fold(key, 1), (shape[0], 1, 1, 1))
        return self.attack_epsilon * radius ** (1 / size) * directions

    def project(self, perturbations: Tensor) -> Tensor:
        """Brings perturbations into the ball.

        Args:
            perturbations: Tensor `(batch, height, width, channels)`.

        Returns:
            Tensor like it.
        """
        epsilon = self.attack_epsilon
        if self.attack_norm == "linf":
            return ops.clip(perturbations, -epsilon, epsilon)
        squares = ops.sum(ops.square(perturbations), axis=(1, 2, 3), keepdims=True)
        norms = ops.maximum(ops.sqrt(squares), _TINY)
        return perturbations * ops.minimum(1.0, epsilon / norms)
