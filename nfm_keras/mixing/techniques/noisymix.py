"""NoisyMix: noisy feature mixup of an image and of two AugMix views of it."""

import dataclasses

import keras
from keras import ops

from nfm_keras.backend import random
from nfm_keras.backend.heads import head
from nfm_keras.checks import check_number
from nfm_keras.mixing.draw import Draw
from nfm_keras.mixing.techniques.augmix import augmix
from nfm_keras.mixing.techniques.base import STREAM, Batch, Technique
from nfm_keras.mixing.techniques.losses import jensen_shannon
from nfm_keras.types import Tensor

VIEWS = 3


@keras.saving.register_keras_serializable(package="nfm_keras")
@dataclasses.dataclass(frozen=True)
class NoisyMix(Technique):
    """NoisyMix: three views of a batch share site, lam and partners.

    The clean image and two AugMix views go through the network as one batch. At the
    site drawn all are mixed by the same draw; their noise differs, additive noise by a
    factor of 1, 2 and 3. The labels' loss is that of the clean view, and the views are
    drawn together by `jsd_weight` times their Jensen-Shannon divergence. The model's
    outputs must be logits. Use it with `Mixing(sparsity=0.65)`.

    Args:
        jsd_weight: Weight of the divergence.

    Raises:
        ValueError: If `jsd_weight` is negative or not finite.

    Example:

    >>> technique = NoisyMix()

    Reference:
        [Erichson et al., 2022](https://arxiv.org/abs/2202.01263), section 3 and its
        published code.
    """

    jsd_weight: float = 12.0

    def __post_init__(self) -> None:
        check_number("jsd_weight", self.jsd_weight, least=0)

    @property
    def clips(self) -> bool:
        return True

    def prepare(
        self, model: keras.Model, images: Tensor, labels: Tensor, draw: Draw
    ) -> Batch:
        if kind := head(model.model):
            raise ValueError(
                "NoisyMix compares predictions by their logits, in which the network "
                f"must end, and the loss have from_logits=True. Received: a {kind}"
            )
        images, key = self.as_images(images), random.fold(draw.key, STREAM)
        levels = model.current_levels()
        level = 1.0 if levels is None else levels[1]
        views = [augmix(images, random.fold(key, i)) for i in range(1, VIEWS)]
        return Batch(
            images=ops.stop_gradient(ops.concatenate([images, *views])),
            draw=draw,
            site_draw=view_draw(model.mixing, draw, random.fold(key, 0), level),
            views=VIEWS,
            loss=lambda logits, _: self.jsd_weight * jensen_shannon(logits, VIEWS),
        )


def view_draw(mixing, draw, key, level=1.0):
    """Returns the `Draw` for a batch of all views, a view after the other.

    Args:
        mixing: The `Mixing` of `draw`.
        draw: The `Draw` of a batch.
        key: The key of the scales of the other views' noise.
        level: What a schedule multiplies the noise with.

    Returns:
        A `Draw` for `VIEWS * batch` samples.
    """
    batch = ops.shape(draw.partner)[0]
    lam = draw.lam if len(draw.lam.shape) == 0 else ops.tile(draw.lam, (VIEWS,))
    partner = ops.concatenate([draw.partner + i * batch for i in range(VIEWS)])
    # Nothing where the batch is left alone, which a lone site cannot see.
    level = level * ops.cast(draw.site >= 0, "float32")
    scale = _scales(draw, level * _other_scales(mixing, key))
    return draw._replace(lam=lam, partner=partner, scale=scale)


def _other_scales(mixing, key):
    if mixing.noise == "beta_scaled":
        return random.beta(key, 2.0, 5.0, (2, VIEWS - 1))
    return ops.ones((2, VIEWS - 1))


def _scales(draw, others):
    """Scales of the additive and the multiplicative noise, each `(views * batch,)`."""
    batch = ops.shape(draw.partner)[0]
    own = ops.stack([ops.convert_to_tensor(s, "float32") for s in draw.scale])
    add, mult = ops.unstack(ops.concatenate([own[:, None], others], axis=1))
    # The factor is the additive noise's alone, as in the published code.
    scales = add * ops.arange(1.0, VIEWS + 1), mult
    shape = (VIEWS, batch)
    return tuple(
        ops.reshape(ops.broadcast_to(scale[:, None], shape), (-1,)) for scale in scales
    )
