"""Every field of a training config as a flag."""

import dataclasses
import typing

from absl import flags

from nfm_keras import training
from nfm_keras.training.config import USUAL
from nfm_keras.training.fields import SENTENCES

_DEFINE = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    tuple: flags.DEFINE_list,
}


def define(leave_out=()):
    """Defines a flag for each field of `training.Config`, but for some.

    Args:
        leave_out: Names of the fields that get none.

    Returns:
        Tuple of the fields that have a flag.
    """
    hints = typing.get_type_hints(training.Config)
    fields = [f for f in dataclasses.fields(training.Config) if f.name not in leave_out]
    for field in fields:
        options = [*typing.get_args(hints[field.name]), hints[field.name]]
        kind = typing.get_origin(options[0]) or options[0]
        text = SENTENCES[field.name]
        for dataset, usual in USUAL.items():
            if field.name in usual:
                text += f" For {dataset}: {usual[field.name]}."
        _DEFINE[kind](field.name, field.default, text)
    return tuple(field.name for field in fields)


def config(names):
    """Returns the `training.Config` of the flags.

    What the flags do not say is what is usual for the data set (`USUAL`), or the
    default of `training.Config`.

    Args:
        names: Names of the fields that have a flag.
    """
    values = {name: flags.FLAGS[name].value for name in names}
    usual = USUAL.get(values["dataset"], {})
    chosen = {name for name in names if flags.FLAGS[name].present}
    usual = {name: value for name, value in usual.items() if name not in chosen}
    return training.Config(**values | usual)


def serialize(config):
    """Returns the flags of a config, without those that are as `config` has them.

    Args:
        config: `training.Config`.

    Example:

    >>> cifar = training.Config(dataset="cifar10", sites=("site_0",), augment=False)
    >>> serialize(cifar)
    ['--dataset=cifar10', '--sites=site_0', '--noaugment']
    >>> serialize(training.Config(epochs=200, batch_size=32))
    ['--network=preact_resnet18', '--epochs=200']
    """
    given, usual = [], USUAL.get(config.dataset, {})
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == usual.get(field.name, field.default):
            continue
        if isinstance(value, bool):
            given.append(f"--{'' if value else 'no'}{field.name}")
        else:
            parts = value if isinstance(value, tuple) else (value,)
            given.append(f"--{field.name}={','.join(map(str, parts))}")
    return given
