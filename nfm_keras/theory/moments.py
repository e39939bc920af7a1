"""The moments of a `Mixing` that the expansion of its loss depends on."""

from typing import NamedTuple

from nfm_keras.mixing import Mixing

_BETA_2_5_SQUARE = 3 / 28  # E b^2 of b ~ Beta(2, 5)
_UNIFORM_SQUARE = 1 / 3  # E u^2 of u ~ U(-1, 1)


class Powers(NamedTuple):
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


def powers(mixing: Mixing) -> Powers:
    """Returns the moments of a `Mixing`.

    With a = alpha and b = beta, D~ is a/(a+b) Beta(a+1, b) + b/(a+b) Beta(b+1, a), and

        m1 = 2ab / ((a+b)(a+b+1)),    m2 = m1 / 2

    The paper calls D~ a uniform mixture, which it is only for a = b. Under the law
    `beta_scaled` the noise has 3/28 and 1/28 of the squares of `sigma_add` and
    `sigma_mult`. `sparsity` and `probability` count as the share that they leave.

    Args:
        mixing: A `Mixing`.

    Example:

    >>> powers(Mixing(alpha=1.0, sigma_add=0.4, sigma_mult=0.2, noise="gaussian"))
    Powers(m1=0.3333333333333333, m2=0.16666666666666666, add=0.16000000000000003, \
mult=0.04000000000000001)

    Reference: Lim et al. 2021, Theorem 3 and equation (28).
    """
    kept = (1 - (mixing.sparsity or 0)) * mixing.probability
    add, mult = mixing.sigma_add**2 * kept, mixing.sigma_mult**2 * kept
    if mixing.noise == "beta_scaled":
        add *= _BETA_2_5_SQUARE
        mult *= _BETA_2_5_SQUARE * _UNIFORM_SQUARE
    if not mixing.mixes:
        return Powers(0.0, 0.0, add, mult)
    a, b = mixing.alpha, mixing.alpha if mixing.beta is None else mixing.beta
    m1 = 2 * a * b / ((a + b) * (a + b + 1)) * mixing.probability
    return Powers(m1, m1 / 2, add, mult)
