"""What a training regularised, at which site, and the margins that follow.

    python -m apps.theory --run_dir=runs/erm,runs/nfm --output=theory
    python -m apps.theory --model=my.keras --dataset=digits --sites=input,dense_1

writes OUTPUT/theory.md and theory.html with their figures, classifiers side by side.
Sites are "input" and the names of layers that all features pass; a saved classifier has
no layers for its sites.
"""

from absl import app, flags, logging

from .import_flag import import_layers
from .start import start

_RUN = flags.DEFINE_list("run_dir", [], "Folders of runs, as apps.train leaves them.")
_MODEL = flags.DEFINE_list("model", [], "Keras files, besides or instead.")
_DATASET = flags.DEFINE_string("dataset", None, "Data set; by default that of the run.")
_SITES = flags.DEFINE_list("sites", ["input"], "Names of layers, or input.")
_LIMIT = flags.DEFINE_integer("limit", 64, "Use so many training images.")
_PROBES = flags.DEFINE_integer("probes", 2, "Random directions an image.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the directions.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data sets are.")
_OUTPUT = flags.DEFINE_string("output", "theory", "Folder of the report.")
flags.declare_key_flag("import")


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    paths = [*_RUN.value, *_MODEL.value]
    if not paths or (not _RUN.value and not _DATASET.value):
        raise app.UsageError("Give --run_dir, or else both --model and --dataset.")
    # TensorFlow warns of functions that are compiled anew; every classifier's are.
    logging.set_verbosity(logging.ERROR)
    # Here, so that the help does not wait for Keras.
    from nfm_keras import evaluation
    from nfm_keras.reports.pages import theory

    import_layers()
    page = theory.write(
        [evaluation.classifiers.load(path) for path in paths],
        _SITES.value,
        _OUTPUT.value,
        dataset=_DATASET.value,
        data_dir=_DATA_DIR.value,
        limit=_LIMIT.value,
        probes=_PROBES.value,
        seed=_SEED.value,
    )
    print(page.read_text(encoding="utf-8"))
    print(f"Pages: {page} and {page.with_suffix('.html')}")


def run():
    """The command `nfm-theory`."""
    start(main)


if __name__ == "__main__":
    run()
