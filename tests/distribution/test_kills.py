"""Training that is killed at random moments ends as training that is not."""

import os

import keras
import pytest
from distribution.launch import launch

pytestmark = [
    pytest.mark.skipif(keras.config.backend() == "torch", reason="JAX and TensorFlow"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the worker forks"),
]


def test_twenty_kills(tmp_path):
    (found,) = launch("kills_worker.py", tmp_path, 20)
    assert found["again"] == 0.0  # what is compared is reproducible to the bit
    assert len(found["epochs"]) >= 20
    assert max(found["epochs"]) > 0  # some had a backup to go on from
    assert set(found["runs"]) == {0.0}
