"""The input pipeline of photographs: throughput, memory, the first batch, resuming.

    python -m benchmarks.imagenet --output=results/photographs/benchmark.json

Writes JPEG files of 500x400 pixels, 4:2:0 and about 59 KB, made of noise at several
scales, into a folder that is removed at the end; one file stands for many by links. The
rows are images a CPU-second (of all threads), median and extremes over repeats, each
in the same process one after the other: ours, the same crop of the whole decoded image,
ours without mirroring, and what Keras offers. Memory, first batch and resuming are
measured in processes of their own.
"""

import gc
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import app, flags
from PIL import Image

_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
_FILES = flags.DEFINE_integer("files", 64, "Different JPEG files.")
_BATCHES = flags.DEFINE_integer("batches", 32, "Batches of a repeat.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Repeats of each row.")
_STEPS = flags.DEFINE_integer("steps", 2000, "Steps over which memory is measured.")
_SHARDS = flags.DEFINE_integer("shards", 1024, "Shards of the set of records.")
_TASK = flags.DEFINE_string("task", None, "What a process of its own measures.")
_FOLDER = flags.DEFINE_string("folder", None, "Where its images are.")

BATCH, SIZE = 64, 224
SMALL_BATCH = 8  # memory grows with what is kept, whatever the size of a batch
COUNTS = 1_000, 100_000
_CLASSES = 10


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    if _TASK.value:
        print(json.dumps(TASKS[_TASK.value](pathlib.Path(_FOLDER.value))))
        return
    with tempfile.TemporaryDirectory() as folder:
        report = measure(pathlib.Path(folder))
    text = json.dumps(report, indent=1)
    print(text)
    if _OUTPUT.value:
        path = pathlib.Path(_OUTPUT.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")


def measure(folder):
    """Makes the images and measures everything; returns the figures by name."""
    from nfm_keras.records.environment import environment

    versions, hardware = environment()
    files = write_files(folder / "files", _FILES.value)
    report = {
        "command": " ".join(["python", "-m", "benchmarks.imagenet", *sys.argv[1:]]),
        "versions": versions,
        "hardware": hardware,
        "bytes_a_file": statistics.mean(path.stat().st_size for path in files),
    }
    few, many = (link(folder / str(n), files, n) for n in COUNTS)
    report["images_a_cpu_second"] = task("throughput", few)
    report["memory_mib"] = {n: task("memory", f) for n, f in zip(COUNTS, (few, many))}
    records = write_records(folder / "records", files, _SHARDS.value)
    report["first_batch_s"] = task("first", records)
    report["resume_s"] = task("resume", records)
    return report


def task(name, folder):
    """Measures in a process of its own; returns its figures."""
    command = [sys.executable, "-m", "benchmarks.imagenet", f"--task={name}"]
    options = [f"--folder={folder}", f"--batches={_BATCHES.value}"]
    options += [f"--repeats={_REPEATS.value}", f"--steps={_STEPS.value}"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def write_files(folder, count):
    """Writes JPEG files as large as ImageNet's, and returns their paths."""
    folder.mkdir()
    paths = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        image = np.zeros((400, 500, 3))
        for side, weight in ((4, 90), (16, 45), (64, 22), (250, 14)):
            small = rng.normal(0, weight, (side * 4 // 5, side, 3))
            for channel in range(3):
                layer = Image.fromarray(small[..., channel].astype("float32"))
                image[..., channel] += np.asarray(layer.resize((500, 400)))
        pixels = np.clip(128 + image, 0, 255).astype("uint8")
        paths.append(folder / f"{seed:03d}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=88, subsampling=2)
    return paths


def link(folder, files, count):
    """Class folders of so many links to the files."""
    for split, n in (("train", count), ("val", _CLASSES)):
        for label in range(_CLASSES):
            (folder / split / str(label)).mkdir(parents=True)
        for i in range(n):
            name = folder / split / str(i % _CLASSES) / f"{i:06d}.jpg"
            os.link(files[i % len(files)], name)
    return folder


def write_records(folder, files, shards):
    """A folder of TensorFlow Datasets with ten images in each of so many shards."""
    import tensorflow as tf

    place = folder / "many" / "1.0.0"
    place.mkdir(parents=True)
    parts = {"train": shards, "validation": 1}
    for split, count in parts.items():
        for number in range(count):
            name = f"many-{split}.tfrecord-{number:05d}-of-{count:05d}"
            with tf.io.TFRecordWriter(str(place / name)) as writer:
                for i in range(10):
                    path = files[(10 * number + i) % len(files)]
                    writer.write(_example(tf, path, i))
    info = {
        "name": "many",
        "splits": [
            {"name": split, "shardLengths": ["10"] * n} for split, n in parts.items()
        ],
    }
    kinds = {"image": "Image", "label": "ClassLabel"}
    features = {name: {"pythonClassName": f"x.{kind}"} for name, kind in kinds.items()}
    features["label"]["classLabel"] = {"numClasses": str(_CLASSES)}
    content = {"featuresDict": {"features": features}}
    (place / "dataset_info.json").write_text(json.dumps(info))
    (place / "features.json").write_text(json.dumps(content))
    return folder


def _example(tf, path, label):
    image = tf.train.BytesList(value=[path.read_bytes()])
    feature = {
        "image": tf.train.Feature(bytes_list=image),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


def throughput(folder):
    """Images a CPU-second of each pipeline: median, least and most.

    Each is begun anew and ended again, so that none works while another is measured.
    """
    rows = {
        "ours": lambda: ours(folder),
        "whole, then crop": lambda: whole(folder),
        "ours, antialiased": lambda: ours(folder, antialias=True),
        "whole, then crop, antialiased": lambda: whole(folder, antialias=True),
        "ours, none mirrored": lambda: never_mirrored(folder),
        "keras.utils.image_dataset_from_directory": lambda: keras_pipeline(folder),
    }
    seen = {name: [] for name in rows}
    for _ in range(_REPEATS.value):
        for name, make in rows.items():
            seen[name].append(_rate(iter(make())))
            gc.collect()
            time.sleep(0.5)
    return {
        name: {"median": statistics.median(v), "least": min(v), "most": max(v)}
        for name, v in seen.items()
    }


def _rate(stream):
    for _ in range(8):  # as many as may be made ahead
        next(stream)
    begun = time.process_time()
    for _ in range(_BATCHES.value):
        next(stream)
    return _BATCHES.value * BATCH / (time.process_time() - begun)


def ours(folder, antialias=False, batch_size=BATCH):
    from nfm_keras import data

    name = f"folder:{folder}"
    train = data.load(name, image_size=SIZE, antialias=antialias).train
    return data.batches(train, batch_size)


def whole(folder, antialias=False):
    """The same windows, mirroring and resizing, of images that are decoded whole."""
    from unittest import mock

    import tensorflow as tf

    from nfm_keras.data.photographs import tensorflow_batches

    def window(file, place, blocks):
        pixels = tf.io.decode_jpeg(file, 3, dct_method="INTEGER_ACCURATE")
        start, extent = tf.concat([place[:2], [0]], 0), tf.concat([place[2:], [3]], 0)
        return tf.slice(pixels, start, extent)

    with mock.patch.object(tensorflow_batches, "jpeg_window", window):
        return ours(folder, antialias)


def never_mirrored(folder):
    """Ours without mirroring: what that costs on the host."""
    from unittest import mock

    from nfm_keras.data.photographs import training_batches

    def none(draws):
        return np.zeros(len(draws), bool)

    with mock.patch.object(training_batches, "mirrored", none):
        yield from ours(folder)


def keras_pipeline(folder):
    import keras

    images = keras.utils.image_dataset_from_directory(
        folder / "train", batch_size=None, image_size=(256, 256), shuffle=True, seed=0
    )
    change = keras.Sequential(
        [
            keras.layers.RandomCrop(SIZE, SIZE),
            keras.layers.RandomFlip("horizontal"),
        ]
    )
    batches = images.repeat().batch(BATCH)
    return batches.map(lambda x, y: (change(x, training=True), y)).prefetch(2)


def memory(folder):
    """Resident memory of the host after a tenth of the steps and at the end, in MiB.

    2,000 steps are sixteen epochs of 1,000 images and a sixth of one of 100,000.
    """
    stream = iter(ours(folder, batch_size=SMALL_BATCH))
    seen = []
    for step in range(1, _STEPS.value + 1):
        next(stream)
        if step in (_STEPS.value // 10, _STEPS.value):
            seen.append(_resident())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"early": seen[0], "late": seen[-1], "peak": peak, "steps": _STEPS.value}


def _resident():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def first(folder, step=0):
    """Seconds from opening a set to its first batch, at a step of an epoch."""
    import tensorflow  # noqa: F401, to import it takes as long as all else

    from nfm_keras import data

    begun = time.perf_counter()
    train = data.load("tfds:many", data_dir=folder, image_size=SIZE).train
    next(iter(data.batches(train, BATCH, start_step=step)))
    return time.perf_counter() - begun


def resume(folder):
    """Seconds to the first batch in the middle of an epoch, and at its start."""
    first(folder)  # TensorFlow starts its threads
    return {"start": first(folder), "middle": first(folder, step=60)}


TASKS = {"throughput": throughput, "memory": memory, "first": first, "resume": resume}

if __name__ == "__main__":
    app.run(main)
