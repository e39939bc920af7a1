"""The first step, compiled while another thread reads the images.

Both take seconds: the one in Python and in a compiler, the other in TensorFlow
Datasets.
"""

import concurrent.futures
import functools
from collections.abc import Callable

import keras
from keras import ops

from nfm_keras.data import Splits, from_config
from nfm_keras.mixing.state import variables_of
from nfm_keras.training.inputs import batches


class Reading:
    """Images that another thread reads.

    Args:
        read: Function without arguments that returns `data.Splits`.
        outline: `data.Splits` of black images, as many as `read` gives; `None` to read
            at once, in this thread.

    Attributes:
        outline: As given, or the images themselves.

    Example:

    >>> reading = Reading(lambda: "images", outline="black images")
    >>> reading.outline, reading.result()
    ('black images', 'images')
    """

    def __init__(self, read: Callable[[], Splits], outline: Splits | None):
        self.is_early = outline is not None
        if outline is None:
            self.outline = splits = read()
            self.result = lambda: splits
            return
        self.outline = outline
        thread = concurrent.futures.ThreadPoolExecutor(1)
        self.result = thread.submit(read).result
        thread.shutdown(wait=False)


def read(config, engine, data_dir, download, **kept):
    """Begins to read the images of a config.

    Args:
        config: `Config`.
        engine: `distribution.Engine`.
        data_dir, download, **kept: As in `from_config.load`.

    Returns:
        `Reading`: by another thread where there is a step to compile in the meantime
        and reading takes longer than a moment.
    """
    outline = None
    if engine.name is None and keras.backend.backend() != "torch":
        outline = from_config.outline(config, data_dir, download)
    load = functools.partial(from_config.load, config, data_dir, download, **kept)
    return Reading(load, outline)


def compile_step(model, config, split):
    """Takes a step of `fit` on black images and undoes it, so that it is compiled.

    Args:
        model: Compiled `NFMModel`.
        config: Its `Config`.
        split: `data.Split` of black images, as many as there are to train on.
    """
    size = config.batch_size * config.steps_per_execution
    sample = split.subset(slice(size))
    variables = [each for kind in variables_of(model) for each in kind]
    values = [ops.copy(variable.value) for variable in variables]
    model.fit(
        batches(config, sample, 0),
        steps_per_epoch=config.steps_per_execution,
        shuffle=False,
        verbose=0,
    )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
