"""The first step, compiled while another thread reads the images.

Both take seconds: the one in Python and in a compiler, the other in TensorFlow
Datasets.
"""

import concurrent.futures
import functools

import keras
from keras import ops

from nfm_keras.data import from_config
from nfm_keras.mixing.state import variables_of
from nfm_keras.training.inputs import batches


def read(config, engine, data_dir, download, **kept):
    """Begins to read the images of a config.

    Args:
        config: `Config`.
        engine: `distribution.Engine`.
        data_dir, download, **kept: As in `from_config.load`.

    Returns:
        `(outline, wait)`: black images, as many, while another thread reads; None where
        there is no step to compile in the meantime or reading takes but a moment, and
        they are read. And a function that returns the `data.Splits` once they are.
    """
    load = functools.partial(from_config.load, config, data_dir, download, **kept)
    outline = None
    if engine.name is None and keras.backend.backend() != "torch":
        outline = from_config.outline(config, data_dir, download)
    if outline is None:
        splits = load()
        return None, lambda: splits
    thread = concurrent.futures.ThreadPoolExecutor(1)
    reading = thread.submit(load)
    thread.shutdown(wait=False)  # it ends when this is done
    return outline, reading.result


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
