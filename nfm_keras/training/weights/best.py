"""The best classifier of a run, by what is measured on images held out."""

import math

import keras

from nfm_keras.checks import unknown
from nfm_keras.evaluation.noise import parse
from nfm_keras.training.folder import BEST
from nfm_keras.training.weights.files import save_classifier

_USUAL = ("val_accuracy", "val_loss")


class BestClassifier(keras.callbacks.Callback):
    """Saves the classifier whenever a metric is better than at all validations before.

    What is saved are the weights that were validated: with exponential averages these.
    Of equal values the first is kept. A loss is better the smaller it is, an accuracy
    the larger.

    Order: before the checkpoint, which keeps `best`, and before
    `keras.callbacks.SwapEMAWeights`; after what measures the metric.

    Args:
        metric: `"val_accuracy"`, `"val_loss"` or the key of a
            `nfm_keras.training.callbacks.NoisyAccuracy`.
        config: The run's resolved `Config`.
        path: The `.keras` file.
        best: Dict that is filled in: `metric`, `value` and `epoch` (from 1) of the
            file. One that is filled, by this metric, is gone on with.
        watched: Key of the `NoisyAccuracy` of the run, if there is one.
        writes: Whether this process is the one that writes.

    Raises:
        ValueError: If the run does not measure such a metric.

    Example:

    >>> from nfm_keras.training import Config
    >>> callback = BestClassifier("val_accuracy", Config(), "best.keras", best={})
    """

    def __init__(self, metric, config, path, best, watched=None, writes=True):
        super().__init__()
        known = (*_USUAL, watched) if watched else _USUAL
        if metric not in known:
            raise unknown("save_best", metric, known)
        self.metric, self.config, self.path = metric, config, path
        self.best, self.writes = best, writes
        self._validated = None

    def on_test_end(self, logs=None):
        # Now: averages are swapped in for the length of the validation.
        self._validated = self.model.model.get_weights()

    def on_epoch_end(self, epoch, logs=None):
        weights, self._validated = self._validated, None
        value = (logs or {}).get(self.metric)
        if weights is None or value is None or not self._is_better(value):
            return
        if self.writes:
            save_classifier(self.config, weights, self.path)
        self.best |= {"metric": self.metric, "value": value, "epoch": epoch + 1}

    def _is_better(self, value):
        if "value" not in self.best or math.isnan(value):
            return not math.isnan(value)
        held = self.best["value"]
        return value < held if self.metric == "val_loss" else value > held


def best_callback(job, best):
    """Returns a list with the `BestClassifier` of a run, if it is to have one.

    Args:
        job: `nfm_keras.training.fit.Job`.
        best: As in `BestClassifier`.

    Raises:
        ValueError: If the run holds out no images, or those are all that there is to
            test on, or if it has no such metric.
    """
    if not job.save_best:
        return []
    if job.splits.validation is None:
        raise ValueError(
            "`save_best` chooses on images that training holds out, never on those of "
            "the test. Expected: a `validation` such as --validation=5000. "
            f"Received: validation={job.config.validation}"
        )
    if job.splits.validation is job.splits.test:
        raise ValueError(
            "`save_best` chooses on images that are held out, and this set is tested "
            "on the same ones. Expected: a set with images for the test alone, such as "
            "a folder with `train` and `test` in it. "
            f"Received: {job.config.dataset}"
        )
    watched = job.watch and f"val_accuracy_{parse(job.watch).id}"
    path, writes = job.folder / BEST, job.engine.is_chief
    return [BestClassifier(job.save_best, job.config, path, best, watched, writes)]


def check_kept(record, metric):
    """Returns the record of a finished run, if it kept its best by this metric.

    Args:
        record: The run's `nfm_keras.records.Record`.
        metric: As `save_best` of `nfm_keras.training.train`; `None` asks for nothing.

    Raises:
        ValueError: If the run kept none, or kept it by another metric.
    """
    if metric and record.best.get("metric") != metric:
        kept = record.best.get("metric", "none")
        raise ValueError(
            f"The run {record.name!r} is finished, and the best of a finished run "
            "cannot be chosen any more. Expected: a run that kept its best by "
            f"{metric}; train into another folder. Received: {kept}"
        )
    return record
