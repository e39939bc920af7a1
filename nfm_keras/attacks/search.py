"""The loop that all attacks share: batches that stay full, and who is broken by what.

An attack takes each image through so many calls of one compiled step. Whether an image
is broken is read off the logits of that step. Broken images make room for waiting ones
at once, so that the step always runs on a full batch; what belongs to an image (its
step size, its best point ...) is a row of the state and travels with it. No row depends
on another, so batch size and order change nothing.
"""

import numpy as np
from keras import ops

from nfm_keras.attacks import progress
from nfm_keras.attacks.attack import AttackResult
from nfm_keras.attacks.losses import log_mean
from nfm_keras.attacks.watch import Shares, Watch
from nfm_keras.data.images import image_generators
from nfm_keras.data.labels import hits

CONFIRMATIONS = 4
"""How often in a row a point of a random classifier must be misclassified."""


class Search:
    """One run of an attack over a set of images.

    A subclass has `calls`, how often an image goes through the step, and

    * `begin(where, rounds)`: the state of images that join the batch, a NamedTuple of
      arrays with one row an image, of which the first is the current point;
    * `advance(where, taken, state)`: one step, `(state, points, logits, health)`: the
      next state, and the points that were judged in passing with their logits and, or
      None, what `nfm_keras.backend.ascent.checked` says of their gradients;
    * perhaps `leave(where, points)`, told of those that leave the batch.

    Args:
        attack: `Attack`.
        classifier: `PlainClassifier`.
        images, labels, indices: As checked by `attack.prepared`.
        seed: int.
        batch_size: int.
    """

    rounds = 1  # how often an image that stays unbroken is searched
    passes = 1  # forward passes over whose mean probability an image is judged
    cost = 1  # gradients an image and call
    loss = ""  # what is followed, where the attack itself does not say

    def __init__(self, attack, classifier, images, labels, indices, seed, batch_size):
        self.attack, self.classifier, self.seed = attack, classifier, seed
        self.images, self.labels, self.indices = images, labels, indices
        self.batch_size = batch_size
        self.early_stop = getattr(attack, "early_stop", True)
        self.adversaries = images.copy()
        self.broken = np.zeros(len(images), bool)
        self.gradients = 0
        only = getattr(attack, "loss", self.loss) == "ce"
        self.watch = Watch(len(images), classifier.from_logits, only)
        self.shares = Shares()

    def result(self):
        return AttackResult(self.adversaries, self.broken, self.gradients)

    def settle(self):
        """Judges what is broken once more, where the classifier is random.

        A search asks so often that some draw of an image is lucky in the end, on fresh
        passes too. What it found is asked once, and that decides.
        """
        where = np.flatnonzero(self.broken)
        if self.passes > 1 and len(where):
            scores = self.scores(where, self.adversaries[where])
            luck = where[hits(scores, self.labels[where])]
            self.broken[luck] = False
            self.adversaries[luck] = self.images[luck]

    def unbroken(self):
        return np.flatnonzero(~self.broken)

    def walk(self, waiting):
        """Searches every waiting image for `rounds` rounds, or until it is broken."""
        done = np.zeros(len(self.images), int)  # rounds behind an image
        batch = _Batch(self.batch_size)
        while len(waiting) or len(batch.where):
            fresh, waiting = np.split(waiting, [batch.room])
            if len(fresh):
                batch.join(fresh, self.begin(fresh, done[fresh]))
            where = batch.where
            batch.state, points, logits, health = self.advance(*batch.filled())
            self.gradients += self.cost * len(where)
            logits = self.checked(where, _rows(logits, len(where)))
            if health is not None:
                self.watch.follow(where, _rows(health, len(where)))
            wrong = ~hits(logits, self.labels[where])
            if wrong.any():
                self.confirm(where[wrong], _rows(points, len(where))[wrong])
            broken = self.broken[where] & self.early_stop
            ended = batch.taken == self.calls
            if (broken | ended).any():
                last = _rows(batch.state[0], len(where))[broken | ended]
                self.leave(where[broken | ended], last)
                done[where[ended]] += 1
                again = where[ended & ~broken]
                waiting = np.append(waiting, again[done[again] < self.rounds])
                batch.drop(broken | ended)
            if progress.heard():
                progress.tell(self._share(done, batch))

    def _share(self, done, batch):
        """How much of a walk is behind, of rounds of images."""
        behind = np.where(self.broken & self.early_stop, self.rounds, done).sum()
        return (behind + batch.taken.sum() / self.calls) / (self.rounds * len(done))

    def leave(self, where, points):
        pass

    def confirm(self, where, points):
        """Keeps misclassified points.

        Where the classifier is random, it judges them on passes that the search has not
        seen, and again on others: it will ask for many points.
        """
        if self.passes == 1:
            self.keep(where, points)
            return
        for _ in range(CONFIRMATIONS):
            if len(where):
                wrong = ~hits(self.scores(where, points), self.labels[where])
                where, points = where[wrong], points[wrong]
        self.keep(where, points)

    def judge(self, where, points):
        """Keeps those of the points that are misclassified, by forward passes alone."""
        if not len(where):
            return None
        scores = self.scores(where, points)
        wrong = ~hits(scores, self.labels[where])
        self.keep(where[wrong], points[wrong])
        return scores

    def judge_clean(self):
        """Judges the images themselves; returns their scores `(n, classes)`."""
        scores = self.judge(np.arange(len(self.images)), self.images)
        if scores.shape[1] < 2:
            raise ValueError(
                "An attack needs a classifier of 2 classes or more. "
                f"Received: {scores.shape}"
            )
        return scores

    def targets_of(self, scores):
        """Returns the target classes, `(n, targets)`: those ranked second, third ..."""
        ranks = np.argsort(-scores, axis=1, kind="stable")
        return ranks[:, 1 : 1 + self.attack.targets].astype("int32")

    def generators(self, where, rounds):
        """Yields a generator for each image and round, keyed by these alone."""
        stream = f"{self.attack.name}/{self.attack.norm}"
        for index, repeat in zip(self.indices[where], rounds, strict=True):
            yield next(image_generators(self.seed, stream, [index], repeat))

    def scores(self, where, points):
        """Returns logits or, with several passes, the log of the mean probability."""
        scores = []
        for first in range(0, len(points), self.batch_size):
            batch = points[first : first + self.batch_size]
            size = _padded_size(len(batch), self.batch_size)
            now = where[first : first + self.batch_size]
            passes = [
                self.checked(now, self.classifier.logits_of(batch, size))
                for _ in range(self.passes)
            ]
            scores.append(passes[0] if self.passes == 1 else log_mean(passes))
        return np.concatenate(scores)

    def checked(self, where, logits):
        """Returns the logits of some of the images, unless they are none."""
        if not self.classifier.from_logits and np.isnan(logits).any():
            raise ValueError(
                "`from_logits=False` is for a classifier that gives probabilities, "
                "each in [0,1]. Received: others"
            )
        if self.classifier.from_logits:
            self.shares.see(logits)
        self.watch.see(where, logits, self.classifier.lost(logits))
        return logits

    def keep(self, where, points):
        """Keeps the first misclassified point of an image and no later one."""
        new = ~self.broken[where]
        self.adversaries[where[new]] = points[new]
        self.broken[where] = True


class _Batch:
    """The images being searched: who they are, the call each is at, and their state.

    The state has a few more rows than there are images, copies of the last, so that
    few sizes are compiled. It stays where the compiled step left it until somebody
    joins or leaves, and only then passes through NumPy.
    """

    def __init__(self, batch_size):
        self.batch_size = batch_size
        self.where = self.taken = np.zeros(0, int)
        self.state = self.kept = None

    @property
    def room(self):
        return self.batch_size - len(self.where)

    def join(self, where, state):
        self.where = np.append(self.where, where)
        self.taken = np.append(self.taken, np.zeros_like(where))
        kept = (
            np.arange(len(self.where) - len(where)) if self.kept is None else self.kept
        )
        self.refill(kept, state)

    def drop(self, leaving):
        self.kept = np.flatnonzero(~leaving)
        self.where, self.taken = self.where[self.kept], self.taken[self.kept]

    def filled(self):
        """Returns the arguments of the step, padded to one length; counts the call."""
        if self.kept is not None:
            self.refill(self.kept, None)
        size = len(self.state[0])
        taken, self.taken = self.taken, self.taken + 1
        return _pad(self.where, size), _pad(taken, size), self.state

    def refill(self, kept, fresh):
        """Joins kept rows, fresh ones and copies of the last, up to a padded size."""
        size = _padded_size(len(self.where), self.batch_size)
        old = fresh if self.state is None else self.state
        fresh = [()] * len(old) if fresh is None else fresh
        columns = zip(old, fresh, strict=True)
        self.state = type(old)(*(_refilled(a, kept, b, size) for a, b in columns))
        self.kept = None


def _refilled(column, kept, fresh, size):
    column = ops.convert_to_numpy(column)
    filled = np.empty((size, *column.shape[1:]), column.dtype)
    end = len(kept) + len(fresh)
    np.take(column, kept, axis=0, out=filled[: len(kept)], mode="clip")
    if len(fresh):
        filled[len(kept) : end] = fresh
    filled[end:] = filled[end - 1]
    return filled


def _rows(tensor, n):
    return ops.convert_to_numpy(tensor)[:n]


def _pad(batch, size):
    """Repeats the last sample until there are `size`."""
    return batch[np.minimum(np.arange(size), len(batch) - 1)]


def _padded_size(n, batch_size):
    """Returns the smallest of batch_size / 8, 4, 2, 1 that holds n.

    Few sizes are compiled, and a last batch that is nearly empty does not cost a full
    one.
    """
    sizes = (-(-batch_size // parts) for parts in (8, 4, 2, 1))
    return next(size for size in sizes if size >= n)
