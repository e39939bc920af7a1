"""Stochastic weight averaging: the mean of the weights of the last epochs."""

import keras
from keras import ops

from nfm_keras.backend import keras_private
from nfm_keras.mixing.scope import mixing_scope


class Averages(keras.layers.Layer):
    """Holds the mean of a network's weights over the ends of some epochs.

    As a layer of the model it is in every checkpoint.

    Args:
        network: Functional model.

    Attributes:
        count: How many epochs are in the mean.

    Reference:
        [Izmailov et al., 2018](https://arxiv.org/abs/1803.05407), Algorithm 1.
    """

    def __init__(self, network):
        super().__init__(trainable=False, name="averages")
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")
        self.means = [
            self.add_weight(shape=v.shape, initializer="zeros", name=f"mean_{i}")
            for i, v in enumerate(network.trainable_variables)
        ]
        self.built = True

    def update(self, network):
        """Takes the network's weights of now into the mean.

        Args:
            network: The functional model.
        """
        self.count.assign(self.count + 1)
        for mean, variable in zip(self.means, network.trainable_variables):
            mean.assign(mean + (variable - mean) / self.count)

    def apply_to(self, network):
        """Gives the mean to a network.

        Args:
            network: Functional model with weights of the same shapes.
        """
        for mean, variable in zip(self.means, network.trainable_variables):
            variable.assign(mean)


class WeightAveraging(keras.callbacks.Callback):
    """Averages the weights at the ends of all epochs from one on.

    The model has `averages`, an `Averages`.

    Args:
        first: The first epoch whose end counts, from 0.

    Example:

    >>> callback = WeightAveraging(first=150)
    """

    def __init__(self, first):
        super().__init__()
        self.first = first

    def on_epoch_end(self, epoch, logs=None):
        if epoch >= self.first:
            self.model.averages.update(self.model.model)


def refresh_statistics(model, batches, steps):
    """Runs training passes that change nothing but batch normalisation's averages.

    The passes mix and perturb as the model's training steps do, since those made the
    averages that are replaced. A network that has none is left as it is.

    Args:
        model: `NFMModel`, with the weights that the averages are wanted for.
        batches: Iterable of `(images, labels)`.
        steps: How many batches to take: the statistics are the mean of theirs.

    Reference:
        [Izmailov et al., 2018](https://arxiv.org/abs/1803.05407), section 3.2.
    """
    if not model.model.non_trainable_weights:
        return
    norms = [
        layer
        for layer in keras_private.nested_layers(model.model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in norms]
    first = int(ops.convert_to_numpy(model.step))
    sites = () if model.mixing.is_identity else model.site_layers
    try:
        for index, (images, _) in zip(range(steps), batches):
            for layer in norms:  # a mean of all, whatever the layer forgets in training
                layer.momentum = index / (index + 1)
            draw = model.draw_at(first + index, len(images))
            with mixing_scope(model.mixing, draw, sites):
                model(ops.convert_to_tensor(images), training=True)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
