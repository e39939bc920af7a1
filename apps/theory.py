"""What a training regularised, at which site, and the margins that follow.

    python -m apps.theory --run_dir=runs/erm,runs/nfm --output=theory
    python -m apps.theory --model=my.keras --dataset=digits --sites=input,dense_1
    python -m apps.theory --statements --output=theory
    python -m apps.theory --redraw=results/theory

writes OUTPUT/theory.json, and of that theory.md and theory.html with their figures,
classifiers side by side and runs of one scheme together. `--statements` checks the
printed statements on small networks instead. `--redraw` makes the pages and figures of
all records below a folder again, and measures nothing.

Sites are "input" and the names of layers that all features pass; a saved classifier has
no layers for its sites. A model may be a SavedModel beside the record of its run.
"""

import pathlib
import sys

from absl import app, flags, logging

from .import_flag import import_layers
from .loading import load
from .start import start, typed

_RUN = flags.DEFINE_list("run_dir", [], "Folders of runs, as apps.train leaves them.")
_MODEL = flags.DEFINE_list(
    "model", [], "Keras files, besides or instead: PATH or NAME=PATH."
)
_DATASET = flags.DEFINE_string("dataset", None, "Data set; by default that of the run.")
_SITES = flags.DEFINE_list("sites", ["input"], "Names of layers, or input.")
_LIMIT = flags.DEFINE_integer(
    "limit", 64, "Use the first N training images.", lower_bound=1
)
_SCORED = flags.DEFINE_integer(
    "scored", 500, "Calibrate on the first N test images.", lower_bound=1
)
_CERTIFY = flags.DEFINE_integer(
    "certify_limit", 100, "Certify the first N of these.", lower_bound=1
)
_PROBES = flags.DEFINE_integer(
    "probes", 2, "Random directions an image.", lower_bound=2
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the directions.", lower_bound=0)
_EPSILON = flags.DEFINE_float("epsilon", 8 / 255, "Radius of Theorem 5's attack.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data sets are.")
_OUTPUT = flags.DEFINE_string("output", "theory", "Folder of the report.")
_STATEMENTS = flags.DEFINE_bool("statements", False, "Check the printed statements.")
_REDRAW = flags.DEFINE_string("redraw", None, "Folder of records to draw again.")
flags.declare_key_flag("import")


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"Unknown arguments. Received: {argv[1:]}")
    # TensorFlow warns of functions that are compiled anew; every classifier's are.
    logging.set_verbosity(logging.ERROR)
    if _REDRAW.value:
        return _redraw(pathlib.Path(_REDRAW.value))
    command = typed("theory", sys.argv[1:])
    if _STATEMENTS.value:
        # Here, so that the help does not wait for Keras.
        from nfm_keras.reports.pages import statements

        record = statements.measure(_SEED.value, command)
        return _tell(statements.write(record, _OUTPUT.value))
    if not _RUN.value and not (_MODEL.value and _DATASET.value):
        raise app.UsageError("Give --run_dir, or else both --model and --dataset.")
    if not _SITES.value:
        raise app.UsageError("Give --sites at least one name, such as input.")
    import_layers()
    from nfm_keras.checks import unique_names
    from nfm_keras.evaluation.classifiers import named

    unique_names(_SITES.value)
    loaded = [*map(_load, _RUN.value)]
    loaded += [_load(path, name) for name, path in map(named, _MODEL.value)]
    from nfm_keras.reports.pages import theory

    record = theory.measure(
        loaded,
        _SITES.value,
        dataset=_DATASET.value,
        data_dir=_DATA_DIR.value,
        limit=_LIMIT.value,
        scored=_SCORED.value,
        probes=_PROBES.value,
        seed=_SEED.value,
        epsilon=_EPSILON.value,
        certified=_CERTIFY.value,
        command=command,
    )
    return _tell(theory.write(record, _OUTPUT.value))


def _load(path, name=None):
    """A classifier with layers; of a SavedModel, its network built again."""
    from nfm_keras import evaluation, records, serving

    path = pathlib.Path(path)
    if not (path / "saved_model.pb").exists():
        return load(path, name)
    record = records.load(path / records.FILE)
    if name is None:  # not that of a version
        name = path.parent.name if path.name.isdecimal() else path.name
    return evaluation.classifiers.Loaded(name, serving.load_model(path), record)


def _redraw(folder):
    from nfm_keras import records
    from nfm_keras.reports.pages import statements, theory

    pages = {theory.FILE: theory, statements.FILE: statements}
    found = [path for name in pages for path in sorted(folder.rglob(name))]
    if not found:
        raise FileNotFoundError(
            f"{folder} must hold {theory.FILE} or {statements.FILE}. Received: neither"
        )
    for path in found:
        record, of = records.read_json(path), pages[path.name]
        form = record.get("format") if isinstance(record, dict) else None
        if form != of.FORMAT:
            raise ValueError(
                f"{path} must be a record of format {of.FORMAT}. Received: {form}"
            )
        try:
            page = of.write(record, path.parent)
        except LookupError as error:
            raise ValueError(
                f"{path} must be a whole record. Received: one without {error}"
            ) from error
        print(f"Pages: {page} and {page.with_suffix('.html')}")


def _tell(page):
    print(page.read_text(encoding="utf-8"))
    print(f"Pages: {page} and {page.with_suffix('.html')}")


def run():
    """The command `nfm-theory`."""
    start(main)


if __name__ == "__main__":
    run()
