"""TensorBoard: what a run logs, draws and sees."""

import pathlib
import time

import keras
import numpy as np
from keras import ops

from nfm_keras.figures.base import png
from nfm_keras.figures.training import contact_sheet
from nfm_keras.mixing.seen import mixed_images, site_names, step_draws

TRAINING = "training"
"""Name of the run of what is measured in training, as TensorBoard shows it."""


class TensorBoardLog(keras.callbacks.Callback):
    """Writes what a run does for TensorBoard, on every Keras backend.

    There are two runs in the folder, `training` and what is measured on, `test` or
    `validation`: the loss of both is one chart, and each has its name there. The
    settings of the run are in the tab HParams, beside what was measured last.

    At the end of an epoch: all of its logs; the sites and the lam of its steps as
    histograms, the share of each site, and the mean of lam. They are drawn again, so
    that no step waits for them. Where a first batch is given: as training begins, and
    after each validation, the first images of the epoch as the network is about to see
    them. TensorBoard's step is the number of epochs that are done.

    It needs the package `tensorboard`, but no TensorFlow.

    Args:
        folder: Where the event files go; a run that goes on adds one.
        steps: Steps in an epoch.
        batch_size: Samples in a step.
        first_batch: Function of the epoch (from 0): `(images, labels)` of its first
            step; `None` for no images.
        classes: Names of the classes; `None` for their numbers.
        measured_on: `"validation"` or `"test"`, what `fit` validates on.
        config: Dict of JSON values, the settings; `None` for none.

    Raises:
        ImportError: If `tensorboard` is not installed.

    Example:

    >>> log = TensorBoardLog("tensorboard", steps=391, batch_size=128)
    """

    def __init__(
        self,
        folder,
        steps,
        batch_size,
        first_batch=None,
        classes=None,
        measured_on="validation",
        config=None,
    ):
        super().__init__()
        self.steps, self.batch_size = steps, batch_size
        self.first_batch, self.classes = first_batch, classes
        folder = pathlib.Path(folder)
        self._writer = _Writer(folder / TRAINING)
        self._measured = _Writer(folder / measured_on)
        self._settings = _Writer(folder)
        self._measured_on, self._config = measured_on, config
        self._due = True

    def set_model(self, model):
        super().set_model(model)
        self._draws = step_draws(model, self.batch_size)

    def on_epoch_begin(self, epoch, logs=None):
        if self._writer.open(epoch):
            self._measured.open(epoch)
            self._add_settings(epoch)
        step = int(ops.convert_to_numpy(self.model.step))
        # A run that goes on in the middle of an epoch begins with another batch.
        if self.first_batch and self._due and step % self.steps == 0:
            images, labels = self.first_batch(epoch)
            seen = mixed_images(self.model, images, labels, step)
            figure = contact_sheet(seen, self.classes)
            self._writer.image("mixing/images", figure, epoch)

    def on_epoch_end(self, epoch, logs=None):
        for name, value in logs.items():
            writer = self._measured if name.startswith("val_") else self._writer
            writer.scalar(name.removeprefix("val_"), value, epoch + 1)
        self._due = any(name.startswith("val_") for name in logs)
        if not self.model.mixing.is_identity:
            self._add_draws(epoch + 1)
        self._writer.flush()
        self._measured.flush()

    def on_train_end(self, logs=None):
        self._writer.close()
        self._measured.close()

    def _add_settings(self, epoch):
        if self._config is None:
            return
        self._settings.open(epoch)
        self._settings.settings(self._config, self._measured_on)
        self._settings.close()

    def _add_draws(self, epoch):
        end = int(ops.convert_to_numpy(self.model.step))
        sites, lam = self._draws(range(end - self.steps, end))
        self._writer.histogram("mixing/site", sites, epoch)
        self._writer.histogram("mixing/lam", lam, epoch)
        self._writer.scalar("mixing/lam_mean", np.mean(lam), epoch)
        for number, name in enumerate(site_names(self.model)):
            share = np.mean(sites == number)
            self._writer.scalar(f"mixing/share/{name}", share, epoch)


class _Writer:
    """Event files, written with the package `tensorboard` alone.

    Its own `SummaryWriter` has no histograms and no images, and TensorFlow's is there
    on one backend of three.
    """

    def __init__(self, folder):
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.plugins.histogram.summary_v2 import histogram_pb
            from tensorboard.plugins.hparams import summary_v2 as hparams
            from tensorboard.plugins.scalar.summary_v2 import scalar_pb
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ImportError(
                "Logs for TensorBoard need the package `tensorboard`: "
                f"pip install tensorboard. Received: {error}"
            ) from None
        self._folder, self._file_writer = str(folder), EventFileWriter
        self._events, self._summaries = event_pb2, summary_pb2
        self._scalar, self._histogram = scalar_pb, histogram_pb
        self._hparams = hparams
        self._file = None

    def open(self, epoch):
        """Opens a file if none is open; older ones hold nothing from `epoch` on.

        Returns:
            Whether none was open.
        """
        if self._file is not None:
            return False
        self._file = self._file_writer(self._folder)
        start = self._events.SessionLog(status=self._events.SessionLog.START)
        self._write(epoch + 1, session_log=start)
        return True

    def scalar(self, name, value, epoch):
        self._write(epoch, summary=self._scalar(name, value))

    def histogram(self, name, values, epoch):
        self._write(epoch, summary=self._histogram(name, values))

    def image(self, name, figure, epoch):
        width, height = figure.canvas.get_width_height()
        image = self._summaries.Summary.Image(
            encoded_image_string=png(figure), width=width, height=height
        )
        value = self._summaries.Summary.Value(tag=name, image=image)
        self._write(epoch, summary=self._summaries.Summary(value=[value]))

    def settings(self, config, measured_on):
        """Writes what the tab HParams shows: settings, and the measures beside them."""
        values = {name: _plain(v) for name, v in config.items() if v is not None}
        measures = [
            self._hparams.Metric(name, group=group, display_name=f"{group} {name}")
            for name, group in (
                ("loss", TRAINING),
                ("loss", measured_on),
                ("accuracy", measured_on),
            )
        ]
        names = [self._hparams.HParam(name) for name in values]
        self._write(0, summary=self._hparams.hparams_config_pb(names, measures))
        self._write(0, summary=self._hparams.hparams_pb(values))

    def flush(self):
        self._file.flush()

    def close(self):
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, epoch, **content):
        event = self._events.Event(step=epoch, wall_time=time.time(), **content)
        self._file.add_event(event)


def _plain(value):
    """A setting as one of the kinds that HParams takes."""
    if isinstance(value, (bool, int, float, str)):
        return value
    return ", ".join(map(str, value))
