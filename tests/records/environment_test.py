import json
import os

import keras
import pytest

from nfm_keras import records
from nfm_keras.records.environment import environment

pytestmark = pytest.mark.backends


def test_environment_is_json_and_does_not_name_the_machine(tmp_path):
    versions, hardware = environment()
    records.write_json(tmp_path / "x.json", [versions, hardware])
    assert versions["backend"] == keras.backend.backend()
    assert versions[versions["backend"]]
    assert set(hardware) == {"cpu", "cores", "memory_gib", "accelerators"}
    assert hardware["cores"] >= 1
    text = json.dumps([versions, hardware])
    assert os.uname().nodename not in text
    assert os.getcwd() not in text
