"""The distributions by name: which there are, what they take, how one starts."""

import functools
import types

import keras

from nfm_keras.checks import unknown
from nfm_keras.training.distribution.data_parallel import DataParallel
from nfm_keras.training.distribution.engine import Engine
from nfm_keras.training.distribution.mirrored import Mirrored
from nfm_keras.training.distribution.multi_worker import MultiWorker

DISTRIBUTIONS = types.MappingProxyType(
    {kind.name: kind for kind in (Mirrored, MultiWorker, DataParallel)}
)
"""Name of a distribution -> the class of its engine."""


@functools.cache
def start(name: str | None = None) -> Engine:
    """Starts a distribution, once a process and before anything is computed in it.

    Args:
        name: One of `DISTRIBUTIONS`, or `None` for one device.

            `"mirrored"`: this process, all its GPUs; on a machine without, its logical
            CPUs (TensorFlow). Each replica mixes its own part of the batch.

            `"multi_worker"`: the processes that the environment variable `TF_CONFIG`
            names, with all their GPUs (TensorFlow). Each replica mixes its own part.

            `"data_parallel"`: all devices of this process and, where the variables
            `KERAS_DISTRIBUTION_JOB_ADDRESSES` (`host:port` of the first process),
            `KERAS_DISTRIBUTION_NUM_PROCESSES` and `KERAS_DISTRIBUTION_PROCESS_ID` are
            set, of the others (JAX). The batch is one: samples find their partners in
            all of it, and statistics are those of all of it. It computes what one
            device computes, however many there are.

    Returns:
        An `Engine`. Asked for the same name again, the same one.

    Raises:
        ValueError: For an unknown name, another backend, or without the environment
            that it takes.
        RuntimeError: If something has been computed already, or the other processes
            do not answer.

    Example:

    >>> engine = start("mirrored")  # doctest: +SKIP
    >>> with engine.scope():  # doctest: +SKIP
    ...     model = compile_model()
    >>> engine.fit(model, batches, epochs=1, steps_per_epoch=100)  # doctest: +SKIP

    Reference:
        [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), for what large batches
        ask of the learning rate: `nfm_keras.training.optimizers.scaled_rate`.
    """
    _check_backend(name)
    return Engine() if name is None else DISTRIBUTIONS[name]()


def check(
    name: str | None,
    *,
    steps_per_execution: int = 1,
    gradient_accumulation: int = 1,
    jit_compile: bool | None = None,
    precision: str = "float32",
) -> None:
    """Refuses what does not work on several replicas, before anything starts.

    TensorFlow's strategies run no loop of steps, no accumulation of gradients and no
    XLA. Under them an overflow of float16 is noticed in the first replica only; take
    mixed_bfloat16. On JAX all of that works.

    Args:
        name: One of `DISTRIBUTIONS`, or `None`.
        steps_per_execution: As in `training.Config`.
        gradient_accumulation: As there.
        jit_compile: As there.
        precision: As there.

    Raises:
        ValueError: For an unknown name, another backend, or a setting that it cannot
            be combined with.
    """
    _check_backend(name)
    if name is None or DISTRIBUTIONS[name].backend == "jax":
        return
    for setting, value, refused in (
        ("steps_per_execution", steps_per_execution, steps_per_execution > 1),
        ("gradient_accumulation", gradient_accumulation, gradient_accumulation > 1),
        ("jit_compile", jit_compile, jit_compile),
        # Keras looks for an overflow in the first replica's gradients only.
        ("precision", precision, precision == "mixed_float16"),
    ):
        if refused:
            raise ValueError(
                f"The distribution {name!r} cannot be combined with this {setting}. "
                f"Received: {value}"
            )


def _check_backend(name):
    if name is None:
        return
    if name not in DISTRIBUTIONS:
        raise unknown("distribution", name, DISTRIBUTIONS)
    expected, received = DISTRIBUTIONS[name].backend, keras.backend.backend()
    if received != expected:
        raise ValueError(
            f"The distribution {name!r} needs KERAS_BACKEND={expected}. "
            f"Received: KERAS_BACKEND={received}"
        )
