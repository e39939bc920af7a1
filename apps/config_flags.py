"""Every field of a training config as a flag."""

import dataclasses
import typing

from absl import flags

from nfm_keras import training
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
        _DEFINE[kind](field.name, field.default, text)
    return tuple(field.name for field in fields)


def serialize(config):
    """Returns the flags of a config, without those at their defaults.

    Args:
        config: `training.Config`.

    Example:

    >>> serialize(training.Config(scheme="erm", augment=False, sites=("site_0",)))
    ['--scheme=erm', '--sites=site_0', '--noaugment']
    """
    given = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == field.default:
            continue
        if isinstance(value, bool):
            given.append(f"--{'' if value else 'no'}{field.name}")
        else:
            parts = value if isinstance(value, tuple) else (value,)
            given.append(f"--{field.name}={','.join(map(str, parts))}")
    return given
