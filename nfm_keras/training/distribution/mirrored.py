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

    def fit(self, model, batches, **options):
        """Trains a model on all replicas: see `Engine.fit`.

        Raises:
            ValueError: For fewer images to validate on than replicas.
        """
        if options.get("validation_data") is not None:
            options["validation_batch_size"] = self._shared(
                len(options["validation_data"][0]),
                options.get("validation_batch_size", 32),
            )
        return super().fit(model, batches, **options)

    def _shared(self, count, size):
        """The size of batches of which the first has as many images for each replica.

        Keras joins the parts of the first batch that it sees, and they have to be of
        one shape; those of later ones need not.
        """
        size = min(size, count)
        if size < self.replicas:
            raise ValueError(
                f"There must be an image to validate on for each of {self.replicas} "
                f"replicas. Received: {count} images, {size} in a batch"
            )
        return size - size % self.replicas
