"""One process of a training on several devices.

python tests/replicas.py FILE DISTRIBUTION ...      writes what it saw as JSON
python tests/replicas.py --run FOLDER CONFIG_JSON   a whole run, with `training.train`
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile

import keras
import numpy as np
import programs
from keras import layers

import nfm_keras as nfm
from nfm_keras import data
from nfm_keras.mixing.scope import current_scope
from nfm_keras.training import distribution, optimizers
from nfm_keras.training.tensorboard import TensorBoardLog

BATCH, EPOCHS, DEVICES = 128, 3, 2
MIXINGS = {
    "plain": nfm.Mixing(alpha=0.0, sigma_add=0.0, sigma_mult=0.0),
    "mixed": nfm.Mixing(),
}


class Spy(layers.Layer):
    """Notes the draw in force in each replica, on TensorFlow."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, features):
        scope = current_scope()
        if scope is not None and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            draw = scope.draw
            noted = [draw.site, draw.lam, draw.partner, draw.key]
            tf.numpy_function(self.note, noted, [])
        return features

    def note(self, *values):
        self.seen.append([np.asarray(v).tolist() for v in values])


def network(spec, norm):
    inputs, spy = keras.Input(spec.shape), Spy()
    x = nfm.NoisyFeatureMixup(name="site_0")(layers.Flatten()(inputs))
    x = layers.Dense(32, activation="relu")(x)
    x = layers.BatchNormalization(momentum=0.9)(x) if norm else x
    x = spy(nfm.NoisyFeatureMixup(name="site_1")(x))
    return keras.Model(inputs, layers.Dense(10)(x)), spy


def compiled(case, spec):
    keras.utils.set_random_seed(0)
    plain, spy = network(spec, norm=case == "mixed")
    rescale = layers.Rescaling(1 / 255)
    model = nfm.NFMModel(plain, MIXINGS[case], preprocess=rescale)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = optimizers.build("sgd", 0.1, use_ema=case == "mixed")
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model, spy


def trained(engine, case):
    """History, draws and weights of a small training."""
    train, _, test = data.load("digits", limit=1152)
    test = data.Split(test.images[:499], test.labels[:499], test.spec)  # an odd number
    with engine.scope():
        model, spy = compiled(case, train.spec)
    callbacks = [keras.callbacks.SwapEMAWeights()] if case == "mixed" else []
    if engine.processes == 1 and importlib.util.find_spec("tensorboard"):
        folder = tempfile.mkdtemp()
        callbacks.append(TensorBoardLog(folder, len(train.labels) // BATCH, BATCH))
    history = engine.fit(
        model,
        data.batches(train, BATCH, drop_last=True, part=engine.part(BATCH)),
        epochs=EPOCHS,
        steps_per_epoch=data.steps_per_epoch(train, BATCH, drop_last=True),
        validation_data=(test.images, test.labels),
        validation_batch_size=101,  # no multiple of the devices
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    ).history
    return {
        "history": history,
        "draws": spy.seen,
        "weights": [w.tolist() for w in model.get_weights()],
        "copies": copies(model),
    }


def copies(model):
    """What each replica of this process holds, one beside the other."""
    values = [variable.value for variable in model.variables]
    if keras.backend.backend() == "jax":
        return [[shard.data.tolist() for shard in v.addressable_shards] for v in values]
    return [[c.numpy().tolist() for c in getattr(v, "values", [v])] for v in values]


def use_two_processors():
    """Gives a TensorFlow without other processes two devices."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * DEVICES
    tf.config.set_logical_device_configuration(cpu, logical)


def launch(folder, backend, *names, processes=1):
    """What each process of a training saw: name -> case -> history, draws, weights."""
    files = [folder / f"{backend}-{index}.json" for index in range(processes)]
    if processes == 1 and backend == keras.backend.backend() == "tensorflow":
        done = programs.run(__file__, files[0], *names)
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(files[0].read_text())]
    started = [
        start([__file__, file, *names], backend, place)
        for place, file in zip(places(processes), files)
    ]
    told = [process.communicate(timeout=300)[0] for process in started]
    for process, text in zip(started, told):
        assert process.returncode == 0, text[-3000:]
    return [json.loads(file.read_text()) for file in files]


def places(processes):
    """For each process, what tells it of the others: index and free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(processes)]
    peers = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for opened in sockets:
        opened.close()
    return [(index, peers) for index in range(processes)]


def start(command, backend, place):
    """Starts one process of several, or the only one with two devices."""
    index, peers = place
    given = {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    if len(peers) == 1:
        flag = f"--xla_force_host_platform_device_count={DEVICES}"
        given["XLA_FLAGS"] = f"{given.get('XLA_FLAGS', '')} {flag}"
    elif backend == "tensorflow":
        task = {"type": "worker", "index": index}
        given["TF_CONFIG"] = json.dumps({"cluster": {"worker": peers}, "task": task})
    else:
        given["KERAS_DISTRIBUTION_JOB_ADDRESSES"] = peers[0]
        given["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(len(peers))
        given["KERAS_DISTRIBUTION_PROCESS_ID"] = str(index)
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=os.environ | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main(file, *names):
    if keras.backend.backend() == "tensorflow" and "TF_CONFIG" not in os.environ:
        use_two_processors()
    seen = {}
    for name in names:
        engine = distribution.start(None if name == "none" else name)
        seen[name] = {case: trained(engine, case) for case in MIXINGS}
        seen[name]["engine"] = engine.describe() | {"index": engine.index}
    with open(file, "w") as opened:
        json.dump(seen, opened)


def run(folder, config, *resume):
    """A run that saves every third step; it says when it is over."""
    from nfm_keras import training

    if keras.backend.backend() == "tensorflow" and "TF_CONFIG" not in os.environ:
        use_two_processors()
    config = training.Config(**json.loads(config))
    training.train(config, folder, resume=bool(resume), save_every=3, verbose=0)
    print("done")


if __name__ == "__main__":
    if sys.argv[1] == "--run":
        run(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
