"""The moments of a `Mixing` that the expansion of its loss depends on."""

from typing import NamedTuple

from nfm_keras.mixing import Mixing

_BETA_2_5_SQUARE = 3 / 28  # E b^2 of b ~ Beta(2, 5)
_UNIFORM_SQUARE = 1 / 3  # E u^2 of u ~ U(-1, 1)


class MixingMoments(NamedTuple):
    """What is left of the laws of lambda and of the noise at second order.

    Attributes:
        m1: E[1 - lambda] under D~, the law of lambda in Theorem 1.
        m2: E[(1 - lambda)^2] under D~; always m1 / 2.
        add: Mean square of the additive noise, in squared units of the features.
        mult: Mean square of the multiplicative noise, a ratio.
    """

    m1: float
    m2: float
    add: float
    mult: float


def mixing_moments(mixing: Mixing) -> MixingMoments:
    """Returns the moments of a `Mixing`.

    With a = alpha and b = beta, D~ is a/(a+b) Beta(a+1, b) + b/(a+b) Beta(b+1, a), and

        m1 = 2ab / ((a+b)(a+b+1)),    m2 = m1 / 2

    The paper calls D~ a uniform mixture, which it is only for a = b. Under the law
    `beta_scaled` the noise has 3/28 and 1/28 of the squares of `sigma_add` and
    `sigma_mult`. `sparsity` and `probability` count as the share that they leave.

    Args:
        mixing: A `Mixing`.

    Example:

    >>> mixing_moments(Mixing(sigma_add=0.5, sigma_mult=0.25, noise="gaussian"))
    MixingMoments(m1=0.3333333333333333, m2=0.16666666666666666, add=0.25, mult=0.0625)

    Reference: Lim et al. 2021, Theorem 3 and equation (28).
    """
    kept = (1 - (mixing.sparsity or 0)) * mixing.probability
    add, mult = mixing.sigma_add**2 * kept, mixing.sigma_mult**2 * kept
    if mixing.noise == "beta_scaled":
        add *= _BETA_2_5_SQUARE
        mult *= _BETA_2_5_SQUARE * _UNIFORM_SQUARE
    if not mixing.mixes:
        return MixingMoments(0.0, 0.0, add, mult)
    a, b = mixing.alpha, mixing.alpha if mixing.beta is None else mixing.beta
    m1 = 2 * a * b / ((a + b) * (a + b + 1)) * mixing.probability
    return MixingMoments(m1, m1 / 2, add, mult)
