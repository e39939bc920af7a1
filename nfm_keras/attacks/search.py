"""The loop that all attacks share: batches that stay full, and who is broken by what.

An attack takes each image through so many calls of one compiled step. Whether an image
is broken is read off the logits of that step. Broken images make room for waiting ones
at once; what belongs to an image (its step size, its best point ...) is a row of the
state and travels with it.

Where few images are left, one that has stood a whole round (a start, a target) goes
through several of the others at the same time, a row each. What counts is the lowest
round that breaks it, as if they came one after the other: higher ones then leave, lower
ones go on. No row depends on another, so batch size and order change nothing.
"""

import numpy as np
from keras import ops

from nfm_keras.attacks import progress
from nfm_keras.attacks.attack import AttackResult
from nfm_keras.attacks.losses import log_mean
from nfm_keras.attacks.watch import Shares, Watch
from nfm_keras.backend.classifier import padded_size
from nfm_keras.backend.heads import check_probabilities
from nfm_keras.backend.random import check_seed
from nfm_keras.data.images import image_generators
from nfm_keras.data.labels import hits

CONFIRMATIONS = 4  # how often in a row a point of a random classifier must be wrong
TOGETHER = 4  # one of so many parts of a batch is filled with further rounds of images
LATE = np.iinfo(int).max - 1  # the round of what is judged outside of all rounds


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
    together = True  # whether an image may go through several rounds at a time
    cost = 1  # gradients an image and call
    loss = ""  # what is followed, where the attack itself does not say

    def __init__(self, attack, classifier, images, labels, indices, seed, batch_size):
        attack.check(images)
        self.attack, self.classifier, self.seed = attack, classifier, check_seed(seed)
        self.images, self.labels, self.indices = images, labels, indices
        self.batch_size = batch_size
        self.early_stop = getattr(attack, "early_stop", True)
        self.adversaries = images.copy()
        self.broken = np.zeros(len(images), bool)
        self.won = np.full(len(images), LATE + 1)  # the round of its adversary
        self.begun, self.done = np.zeros((2, len(images)), int)  # rounds of an image
        self.gradients = 0
        only = getattr(attack, "loss", self.loss) == "ce"
        self.watch = Watch(len(images), classifier.from_logits, only)
        self.shares = Shares()

    def result(self):
        return AttackResult(self.adversaries, self.broken, self.gradients)

    def settle(self):
        """Judges what is broken once more, where the classifier is random.

        A search asks so often that some draw is lucky in the end; now one decides.
        """
        if self.passes == 1:
            return
        for where in self.parts(np.flatnonzero(self.broken)):
            scores = self.scores(where, self.adversaries[where])
            luck = where[hits(scores, self.labels[where])]
            self.broken[luck] = False
            self.adversaries[luck] = self.images[luck]

    def unbroken(self):
        return np.flatnonzero(~self.broken)

    def parts(self, where):
        """Yields indices a batch at a time: what is taken of all images is copied."""
        for first in range(0, len(where), self.batch_size):
            yield where[first : first + self.batch_size]

    def walk(self, waiting):
        """Searches every waiting image for `rounds` rounds, or until it is broken."""
        self.won[self.broken] = -1
        self.begun[:] = self.done[:] = self.rounds
        self.begun[waiting] = self.done[waiting] = 0
        batch = _Batch(self.batch_size)
        while True:
            if batch.kept is not None or not len(batch.where):
                fresh, rounds = self.fresh(len(batch.where))
                if len(fresh):
                    batch.join(fresh, rounds, self.begin(fresh, rounds))
            if not len(batch.where):
                return
            self._call(batch)
            if progress.heard():
                progress.tell(self._share(batch, len(waiting)))

    def _call(self, batch):
        """Takes one step, and sees who is broken, who is through and who leaves."""
        where, rounds = batch.where, batch.rounds
        batch.state, points, logits, health = self.advance(*batch.filled())
        self.gradients += self.cost * len(where)
        logits = self.checked(where, _rows(logits, len(where)))
        if health is not None:
            self.watch.follow(where, _rows(health, len(where)))
        wrong = ~hits(logits, self.labels[where])
        if wrong.any():
            points = _rows(points, len(where))[wrong]
            self.confirm(where[wrong], points, rounds[wrong])
        broken = self.stopped(where) & (rounds >= self.won[where])
        ended = batch.taken == self.calls
        leaving = broken | ended
        if leaving.any():
            self.leave(where[leaving], _rows(batch.state[0], len(where))[leaving])
            np.add.at(self.done, where[ended], 1)
            batch.drop(leaving)

    def stopped(self, where):
        """Which images are broken, where those are searched no further."""
        return self.broken[where] & self.early_stop

    def fresh(self, busy):
        """Returns images that join the batch, and the round that each begins."""
        waits = (self.begun < self.rounds) & ~self.stopped(slice(None))
        idle = np.flatnonzero(waits & (self.begun == self.done))
        idle = idle[np.argsort(self.begun[idle], kind="stable")]
        fresh = idle[: self.batch_size - busy]
        rounds = self.begun[fresh]
        self.begun[fresh] += 1
        space = self.batch_size // TOGETHER - busy - len(fresh)
        if space <= 0 or not self.together:
            return fresh, rounds
        stood = np.flatnonzero(waits & (self.done > 0))
        further = np.repeat(stood, self.rounds - self.begun[stood])
        later = [np.arange(self.begun[image], self.rounds) for image in stood]
        later = np.concatenate([rounds[:0], *later])
        first = np.lexsort((further, later))[:space]
        np.add.at(self.begun, further[first], 1)
        return np.append(fresh, further[first]), np.append(rounds, later[first])

    def _share(self, batch, n):
        """How much of a walk is behind, of rounds of images."""
        left = np.where(self.stopped(slice(None)), 0, self.rounds - self.done).sum()
        return 1 - (left - batch.taken.sum() / self.calls) / (self.rounds * n)

    def leave(self, where, points):
        pass

    def confirm(self, where, points, rounds):
        """Keeps misclassified points.

        Where the classifier is random, it judges them on passes that the search has not
        seen, and again on others: it will ask for many points.
        """
        for _ in range(CONFIRMATIONS if self.passes > 1 else 0):
            if len(where):
                wrong = ~hits(self.scores(where, points), self.labels[where])
                where, points, rounds = where[wrong], points[wrong], rounds[wrong]
        self.keep(where, points, rounds)

    def judge(self, where, points):
        """Keeps those of the points that are misclassified, by forward passes alone."""
        scores = []
        for at in self.parts(np.arange(len(where))):
            scores.append(self.scores(where[at], points[at]))
            wrong = at[~hits(scores[-1], self.labels[where[at]])]
            self.keep(where[wrong], points[wrong])
        return np.concatenate(scores)

    def judge_clean(self):
        """Judges the images themselves; returns their scores `(n, classes)`."""
        return self.judge(np.arange(len(self.images)), self.images)

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
        """Returns logits of a batch, or the log of the mean probability of passes."""
        size = padded_size(len(points), self.batch_size)
        passes = [
            self.checked(where, self.classifier.logits_of(points, size))
            for _ in range(self.passes)
        ]
        return passes[0] if self.passes == 1 else log_mean(passes)

    def checked(self, where, logits):
        """Returns the logits of some of the images, unless they are none."""
        if self.classifier.from_logits:
            self.shares.see(logits)
        else:
            check_probabilities(logits)
        self.watch.see(where, logits, self.classifier.lost(logits))
        return logits

    def keep(self, where, points, rounds=None):
        """Keeps the first misclassified point of the lowest round, and no other.

        An image may stand in `where` several times. Without `rounds`, after all others.
        """
        rounds = np.full(len(where), LATE) if rounds is None else rounds
        better = np.flatnonzero(rounds < self.won[where])
        # What is written last stays: of the rows of an image, the lowest round.
        better = better[np.argsort(-rounds[better], kind="stable")]
        where = where[better]
        self.adversaries[where], self.won[where] = points[better], rounds[better]
        self.broken[where] = True


class _Batch:
    """The images being searched: who they are, the call each is at, and their state.

    The state may have a few more rows, copies of the last, so that few sizes are
    compiled. It stays where the compiled step left it until somebody joins or leaves,
    and only then passes through NumPy.
    """

    def __init__(self, batch_size):
        self.batch_size = batch_size
        self.where = self.taken = self.rounds = np.zeros(0, int)
        self.state = self.kept = None

    def join(self, where, rounds, state):
        kept = np.arange(len(self.where)) if self.kept is None else self.kept
        self.where = np.append(self.where, where)
        self.rounds = np.append(self.rounds, rounds)
        self.taken = np.append(self.taken, np.zeros_like(where))
        self.refill(kept, state)

    def drop(self, leaving):
        self.kept = np.flatnonzero(~leaving)
        self.where, self.taken = self.where[self.kept], self.taken[self.kept]
        self.rounds = self.rounds[self.kept]

    def filled(self):
        """Returns the arguments of the step, padded to one length; counts the call."""
        if self.kept is not None:
            self.refill(self.kept, None)
        size = len(self.state[0])
        taken, self.taken = self.taken, self.taken + 1
        return _pad(self.where, size), _pad(taken, size), self.state

    def refill(self, kept, fresh):
        """Joins kept rows, fresh ones and copies of the last, up to a padded size."""
        size = padded_size(len(self.where), self.batch_size)
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
