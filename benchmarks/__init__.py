"""What is fast, against what. See README.md."""

import os

# As the commands of this package have it (apps/start.py), whoever runs a benchmark.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
