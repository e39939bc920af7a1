"""Small sets of photographs for tests: smooth random images as JPEG files."""

import io

import numpy as np
from PIL import Image


def picture(seed, height=72, width=90):
    """A smooth random image, Pillow's."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), "uint8")
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind="JPEG", **options):
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write(folder, classes=3, images=5, splits=("train", "val"), first=0):
    """Class folders `c0`, `c1` ... of JPEG files of several sizes; returns `folder`."""
    for number, split in enumerate(splits):
        for label in range(classes):
            place = folder / split / f"c{label}"
            place.mkdir(parents=True)
            for i in range(images):
                seed = first + (number * classes + label) * images + i
                sides = 60 + 7 * i, 80 + 5 * label
                picture(seed, *sides).save(place / f"{i}.jpg", quality=90)
    return folder


def prepared(folder, train, validation, classes, shards=2, name="imagenet2012"):
    """Writes a set as TensorFlow Datasets does: lists of `(name, bytes, label)`."""
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class Photographs(tfds.core.GeneratorBasedBuilder):
            """Photographs with labels."""

            VERSION = tfds.core.Version("5.1.0")

            def _info(self):
                features = {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=list(classes)),
                    "file_name": tfds.features.Text(),
                }
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(features),
                )

            def _split_generators(self, dl_manager):
                return {
                    "train": self._rows(train),
                    "validation": self._rows(validation),
                }

            def _rows(self, rows):
                for file, data, label in rows:
                    image = io.BytesIO(data)
                    yield file, {"image": image, "label": label, "file_name": file}

            _generate_examples = _rows

    Photographs.name = name
    config = tfds.download.DownloadConfig(num_shards=shards)
    Photographs(data_dir=folder).download_and_prepare(download_config=config)
    return folder / name / "5.1.0"
