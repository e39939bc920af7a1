"""Masks, such as those of padded tokens, among the arguments of a layer."""

import keras


def without_masks(kwargs):
    """Returns the arguments of a call in a graph but for the masks.

    Args:
        kwargs: Dict from names to values. `use_causal_mask=True` is no mask.
    """
    return {
        name: value
        for name, value in kwargs.items()
        if not (name == "mask" or name.endswith("_mask"))
        or not any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(value))
    }
