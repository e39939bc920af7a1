#!/usr/bin/env bash
# Ground: data pipelines; grain's DataLoader.
# Guess: the number of worker processes changes the speed. With the sampler and the seed
#   fixed the batches are the same, as they are in PyTorch's DataLoader.
# Seen: each worker reads every n-th index and makes batches of its own, so two workers
#   give other batches than one, and three others again. What depends on the images of a
#   batch (mixing partners, batch statistics) is another run.
# Versions: grain 0.2.18. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet grain==0.2.18 numpy==2.4.6
cat > "$folder/check.py" <<'PYTHON'
import sys

import grain.python as grain
from absl import flags

N, BATCH = 24, 4


class Numbers:
    def __len__(self):
        return N

    def __getitem__(self, index):
        return index


def batches(workers):
    sampler = grain.IndexSampler(
        N, shard_options=grain.NoSharding(), shuffle=True, num_epochs=1, seed=1
    )
    loader = grain.DataLoader(
        data_source=Numbers(),
        sampler=sampler,
        operations=[grain.Batch(BATCH)],
        worker_count=workers,
    )
    return [sorted(batch.tolist()) for batch in loader]


if __name__ == "__main__":
    flags.FLAGS(sys.argv[:1])
    from importlib.metadata import version

    print("grain", version("grain"))
    seen = {workers: batches(workers) for workers in (0, 1, 2, 3)}
    for workers, found in seen.items():
        print(workers, "workers:", found)
    together = {w: {tuple(batch) for batch in found} for w, found in seen.items()}
    as_stated = (
        together[0] == together[1]
        and not together[1] & together[2]
        and not together[1] & together[3]
    )
    print("as stated" if as_stated else "the behaviour has changed")
    sys.exit(not as_stated)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
