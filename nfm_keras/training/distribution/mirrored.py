"""Training on all GPUs of one machine with TensorFlow."""

from nfm_keras.training.distribution.engine import Engine


class Mirrored(Engine):
    """`tf.distribute.MirroredStrategy`, under the model's own `fit`."""

    name = "mirrored"
    backend = "tensorflow"

    def __init__(self):
        import tensorflow as tf

        logical = tf.config.list_logical_devices
        devices = logical("GPU") or logical("CPU")
        self._strategy = tf.distribute.MirroredStrategy([d.name for d in devices])
        self.replicas = self._strategy.num_replicas_in_sync

    def scope(self):
        return self._strategy.scope()
