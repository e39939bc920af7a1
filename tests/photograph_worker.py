"""One process of a run on photographs, which notes the files that it reads.

python tests/photograph_worker.py FOLDER CONFIG_JSON FILE
"""

import json
import sys
from unittest import mock

from nfm_keras import training
from nfm_keras.data.photographs import files, training_batches

CALLED = files.FolderFiles.read, training_batches.Pieces.row


def main(folder, config, file):
    read, trained = set(), set()

    def noted_read(self, row):
        # The images to validate on are read from another folder.
        read.update({row} if self.folder.name == "train" else ())
        return CALLED[0](self, row)

    def noted_row(self, number):
        epoch, row = CALLED[1](self, number)
        trained.add((epoch, row))
        return epoch, row

    with (
        mock.patch.object(files.FolderFiles, "read", noted_read),
        mock.patch.object(training_batches.Pieces, "row", noted_row),
    ):
        config = training.Config(**json.loads(config))
        record = training.train(config, folder, verbose=0)
    seen = {"read": sorted(read), "trained": sorted(trained), "history": record.history}
    with open(file, "w") as opened:
        json.dump(seen, opened)


if __name__ == "__main__":
    main(*sys.argv[1:])
