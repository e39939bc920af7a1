"""The value of a method and what it draws: `Mixing` and `Draw`."""

import dataclasses
import itertools
from typing import NamedTuple

import keras
from keras import ops

from nfm_keras.backend import random
from nfm_keras.checks import check_number, check_weights, unique_names
from nfm_keras.mixing.interpolation import along, constant, interpolate, partners
from nfm_keras.types import Tensor

NOISE_LAWS = ("beta_scaled", "gaussian")


class Draw(NamedTuple):
    """Everything random in one training step.

    Attributes:
        site: int32 scalar, the index of the site that mixes; -1 for none.
        lam: float32 mixing weight, scalar or `(batch,)`.
        partner: int32 `(batch,)`, the sample that each one is mixed with.
        scale: Pair of float32, scalars or `(batch,)`, that multiply the additive and
            the multiplicative noise; 1 under the `gaussian` law.
        key: The key of the noise.
    """

    site: Tensor
    lam: Tensor
    partner: Tensor
    scale: Tensor
    key: Tensor


@dataclasses.dataclass(frozen=True)
class Mixing:
    r"""Noisy Feature Mixup as a value: mixup and its noisy, manifold forms.

    With features g_k(x) at site k, a partner x' and weight lam, a site returns

        (1 + sigma_mult * xi_mult) * (lam * g_k(x) + (1 - lam) * g_k(x'))
            + sigma_add * xi_add

    (Lim et al. 2021, eqs. 1 and 2), and labels are mixed with the same lam and
    the same partner. `sigma = 0` is manifold mixup, one site at the input is
    noisy mixup, both together mixup; `alpha = 0` only adds noise.

    Args:
        alpha: First parameter of lam ~ Beta(alpha, beta); 0 for no mixing.
        sigma_add: Standard deviation of the additive noise, in units of the
            features at the site.
        sigma_mult: The same of the multiplicative noise, a ratio.
        beta: Second parameter of the Beta law; `None` for `alpha`.
        noise: `"beta_scaled"`, the authors' code: additive `b * N(0, 1)` and
            multiplicative `b' * U(-1, 1)`, with b, b' ~ Beta(2, 5) once a
            batch; in effect 0.33 and 0.19 of sigma (root mean square). Or
            `"gaussian"`, the paper's lemma 1: both N(0, 1).
        sites: Names of the sites to choose from, as `find_sites` gives them;
            `None` for all of the model's.
        site_weights: How likely each of the sites is, in the order of the graph and
            relative to one another: (3, 1, 1, 1) has the input half of the time.
            `None`, as in the paper, for all alike.
        per_sample: Draw one lam a sample instead of one a batch.
        probability: Probability that a batch is mixed and perturbed at all.
        sparsity: Share of the features that get no noise, drawn for each noise and
            each feature on its own; `None` for 0.

    Raises:
        ValueError: If a number is out of its range, for another law of the noise,
            for sites that are none or twice the same, or for weights that are not
            one for each of the sites.

    Example:

    >>> manifold_mixup = Mixing(alpha=2.0, sigma_add=0, sigma_mult=0)
    """

    alpha: float = 1.0
    sigma_add: float = 0.4
    sigma_mult: float = 0.2
    beta: float | None = None
    noise: str = "beta_scaled"
    sites: tuple[str, ...] | None = None
    per_sample: bool = False
    probability: float = 1.0
    sparsity: float | None = None
    site_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        limits = {"probability": 1, "sparsity": 1}
        for name in ("alpha", "beta", "sigma_add", "sigma_mult", *limits):
            value = getattr(self, name)
            if value is not None or name not in ("beta", "sparsity"):
                check_number(name, value, least=0, most=limits.get(name))
        if self.alpha > 0 and self.beta == 0:
            raise ValueError(
                "`beta` must be positive where `alpha` is; set alpha=0 to turn "
                f"mixing off. Received: alpha={self.alpha}, beta={self.beta}"
            )
        if self.noise not in NOISE_LAWS:
            raise ValueError(
                f"`noise` must be one of {NOISE_LAWS}. Received: noise={self.noise!r}"
            )
        if self.sites is not None:
            object.__setattr__(self, "sites", unique_names(self.sites))
        if self.site_weights is not None:
            weights = check_weights("site_weights", self.site_weights)
            object.__setattr__(self, "site_weights", weights)
            if self.sites is not None:
                self.check_weight_count(len(self.sites))

    @property
    def mixes(self) -> bool:
        """Whether features and labels are mixed at all."""
        return self.alpha > 0 and self.probability > 0

    @property
    def is_identity(self) -> bool:
        """Whether training is plain: nothing is mixed, no noise is added."""
        quiet = self.sigma_add == 0 and self.sigma_mult == 0
        return self.probability == 0 or (self.alpha == 0 and quiet)

    def get_config(self) -> dict:
        """Returns the fields as a dict: `Mixing(**config)` is the way back."""
        return dataclasses.asdict(self)

    def draw(
        self,
        seed: int,
        step: Tensor,
        batch_size: Tensor,
        num_sites: int,
        replica: Tensor = 0,
        levels: Tensor = None,
    ) -> Draw:
        """Draws all that is random in a step, a pure function of its arguments.

        Args:
            seed: Python integer.
            step: Integer or scalar integer tensor.
            batch_size: Integer, or scalar tensor on TensorFlow.
            num_sites: Integer, how many sites there are to choose from.
            replica: Integer or tensor. Replicas share site, lam (one a batch) and
                the scale of the noise, and differ in partner and noise.
            levels: `(3,)` factors of alpha and beta, of the noise, and of
                `probability`; `None` for 1. A `MixingSchedule` changes them.

        Returns:
            A `Draw`.

        Example:

        >>> draw = Mixing().draw(seed=0, step=7, batch_size=128, num_sites=4)
        """
        key = random.fold(random.key(seed), step)
        own = random.fold(key, 1 + replica)
        # One call for all that is shared: a generator costs time to compile.
        u = random.uniform(random.fold(key, 0), (2 + 3 * random.BETA_UNIFORMS,))
        site = self._site(u[0], num_sites)
        lam, scale = self._weights(ops.reshape(u[2:], (-1, 3)), levels)
        if self.per_sample and self.alpha > 0:
            alpha, beta = (self._scaled([a], levels) for a in self._law)
            lam = random.beta(random.fold(own, 2), alpha, beta, (batch_size,))
        if self.probability < 1 or levels is not None:
            active = u[1] < self.probability * (1 if levels is None else levels[2])
            site, lam = ops.where(active, site, -1), ops.where(active, lam, 1.0)
        if levels is not None:  # a lone site mixes whatever the draw says
            level = ops.where(active, levels[1], 0.0)
            scale = tuple(level * s for s in scale)
        partner = random.permutation(random.fold(own, 0), batch_size)
        return Draw(site, lam, partner, scale, random.fold(own, 1))

    def _site(self, u, count):
        """The number of a site, of a uniform."""
        if self.site_weights is None:
            # float32 may round the product up to the count.
            site = ops.cast(ops.floor(u * count), "int32")
            return ops.minimum(site, count - 1)
        self.check_weight_count(count)
        *ends, total = itertools.accumulate(self.site_weights)
        passed = [ops.cast(u >= end / total, "int32") for end in ends if end < total]
        return sum(passed, ops.zeros((), "int32"))

    def check_weight_count(self, count: int) -> None:
        """Refuses `site_weights` that are not one for each of the sites.

        Args:
            count: How many sites there are.

        Raises:
            ValueError: If there are more or fewer weights.
        """
        if self.site_weights is not None and len(self.site_weights) != count:
            raise ValueError(
                "`site_weights` must be one for each of the sites. Received: "
                f"{len(self.site_weights)} weight(s) for {count} site(s)"
            )

    @property
    def _law(self):
        return self.alpha, self.alpha if self.beta is None else self.beta

    def _weights(self, u, levels):
        """lam, and the scales of additive and multiplicative noise."""
        alpha, beta = self._law if self.alpha > 0 else (1.0, 1.0)
        laws = [alpha, 2.0, 2.0], [beta, 5.0, 5.0]
        drawn = random.beta_from_uniform(u, *(self._scaled(x, levels) for x in laws))
        lam = drawn[0] if self.alpha > 0 else ops.ones((), "float32")
        return lam, (1.0, 1.0) if self.noise == "gaussian" else (drawn[1], drawn[2])

    def _scaled(self, law, levels):
        """Parameters of Beta laws, the first of them, lam's, times its level."""
        if levels is None:
            return law
        factors = ops.concatenate([levels[:1], ops.ones((len(law) - 1,), "float32")])
        # Of a level of 0: lam is 0 or 1.
        return ops.maximum(factors * ops.convert_to_tensor(law, "float32"), 1e-8)

    def mix(self, values: Tensor, draw: Draw) -> Tensor:
        """Mixes a batch with its partners.

        Args:
            values: Float tensor `(batch, ...)` of any rank.
            draw: A `Draw`.

        Returns:
            Tensor like `values`.

        Raises:
            ValueError: For integers, or a draw for another number of samples.
        """
        if not self.mixes:
            return values
        values = ops.convert_to_tensor(values)
        dtype = keras.backend.standardize_dtype(values.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise ValueError(
                "What is mixed must be floating point numbers. Class numbers have no "
                "mean: mix `keras.ops.one_hot(labels, classes)`, or take lam of the "
                "loss on `labels` and 1 - lam of that on `labels[draw.partner]`. "
                f"Received: dtype={dtype}"
            )
        return interpolate(values, partners(values, draw.partner), draw.lam)

    def perturb(self, features: Tensor, draw: Draw) -> Tensor:
        """Applies multiplicative, then additive noise.

        Args:
            features: Float tensor `(batch, ...)` of any rank.
            draw: A `Draw`.

        Returns:
            Tensor like `features`.
        """
        if not (self.sigma_add or self.sigma_mult):
            return features
        dtype = keras.backend.standardize_dtype(features.dtype)
        low, high = random.halves(draw.key, ops.shape(features))
        kept_add, kept_mult = self._kept(draw.key, ops.shape(features), dtype)
        scale_add, scale_mult = draw.scale
        rank = len(features.shape)
        # Not `+=`: PyTorch would write into the caller's tensor.
        if self.sigma_mult:
            strength = constant(self.sigma_mult * scale_mult, dtype)
            strength = along(strength, rank)
            xi = self._multiplicative(high, dtype)
            features = features * ops.stop_gradient(1 + strength * kept_mult * xi)
        if self.sigma_add:
            strength = constant(self.sigma_add * scale_add, dtype)
            strength = along(strength, rank)
            xi = random.noise_normal(low, dtype)
            features = features + strength * kept_add * xi
        return features

    def _kept(self, key, shape, dtype):
        """1 where there is noise and 0 where none, for each noise."""
        if not self.sparsity:
            return 1, 1
        halves, bar = random.halves(random.fold(key, 1), shape), 65536 * self.sparsity
        return tuple(ops.cast(half >= round(bar), dtype) for half in halves)

    def _multiplicative(self, half, dtype):
        """Multiplicative noise of scale 1, from 16 random bits."""
        # The authors' code has U(-1, 1) here, equation (2) one law for both noises.
        uniform = self.noise == "beta_scaled"
        return (random.noise_uniform if uniform else random.noise_normal)(half, dtype)

    def apply(self, features: Tensor, draw: Draw) -> Tensor:
        """Mixes, then perturbs: what the chosen site does to its features.

        Args:
            features: Float tensor `(batch, ...)` of any rank.
            draw: A `Draw`.

        Returns:
            Tensor like `features`.
        """
        return self.perturb(self.mix(features, draw), draw)
