"""Files of photographs kept nearer than where they are: in memory or on a local disk.

What is kept are the files as they are encoded, a tenth or less of their pixels.
"""

import pathlib
import warnings

from nfm_keras.checks import unknown
from nfm_keras.data.photographs.files import Files
from nfm_keras.records.files import whole
from nfm_keras.types import StrPath

CACHES = "none", "ram", "disk"
FOLDER = "~/.cache/nfm_keras/photographs"
"""Where files are kept on disk unless told otherwise."""

_LABEL = 8  # bytes before those of a file
_TOGETHER = 1000  # files in a folder


def cached(files: Files, cache: str, folder: StrPath | None = None) -> Files:
    """Returns files that are read once from where they are, and then from a cache.

    Args:
        files: `Files`.
        cache: `"none"`, the system's own cache of what was read; `"ram"`, a copy of
            every file in memory; `"disk"`, one in a folder, for files that come over a
            network. They are known by their places, names and labels: a file that has
            other pixels since, under the same name, is not noticed there.
        folder: For `"disk"`; `None` for `FOLDER`.

    Raises:
        ValueError: For another cache.
    """
    if cache not in CACHES:
        raise unknown("cache", cache, CACHES)
    if cache == "none":
        return files
    if cache == "ram":
        return _Cached(files)
    place = pathlib.Path(folder or FOLDER).expanduser()
    return _OnDisk(files, place / files.identity()[:16])


class _Cached:
    """Files kept in a dict."""

    def __init__(self, files):
        self._files, self._kept = files, {}
        self.lengths, self.group, self.classes = (
            files.lengths,
            files.group,
            files.classes,
        )
        self.name, self.names_and_labels = files.name, files.names_and_labels
        self.identity = files.identity

    def read(self, row):
        if row not in self._kept:
            self._kept[row] = self._files.read(row)
        return self._kept[row]


class _OnDisk(_Cached):
    """Files kept in files."""

    def __init__(self, files, folder):
        super().__init__(files)
        self._folder, self._full = folder, False

    def read(self, row):
        path = self._folder / str(row // _TOGETHER) / str(row)
        try:
            content = path.read_bytes()
        except OSError:  # not there yet, or not to be read
            data, label = self._files.read(row)
            self._keep(path, label.to_bytes(_LABEL) + data)
            return data, label
        return content[_LABEL:], int.from_bytes(content[:_LABEL])

    def _keep(self, path, content):
        if self._full:
            return
        try:
            with whole(path) as hidden:
                hidden.write_bytes(content)
        except OSError as error:
            self._full = True
            warnings.warn(
                f"Photographs are kept on this disk no longer, and read from where "
                f"they are. Received: {error}",
                stacklevel=2,
            )
