"""What all processes of a run have to do at the same step: stop."""

from typing import Any

import keras

from nfm_keras.training.distribution.engine import Engine


class Agreement(keras.callbacks.Callback):
    """Tells all processes at the same step that one of them has to stop.

    Put it before the callbacks that look at `stop`.

    Args:
        engine: The run's `Engine`.
        asked: `nfm_keras.training.folder.StopRequest` that is set in the process that
            has to stop.

    Attributes:
        stop: `StopRequest`, set in all processes within 20 steps of that; where
            there is one process only, at the next.
    """

    def __init__(self, engine: Engine, asked: Any) -> None:
        super().__init__()
        self.engine, self.asked, self.stop = engine, asked, type(asked)()
        # An answer waits for all devices.
        self.every = 1 if engine.processes == 1 else 20

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._batch = 0

    # Not `on_train_batch_end`: with that, Keras waits for the logs of each step.
    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        before, self._batch = self._batch, batch
        if batch // self.every > before // self.every:
            self._ask()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._ask()

    def _ask(self):
        if self.engine.any(self.asked.is_set()):
            self.stop.number = self.asked.number
            self.stop.set()
