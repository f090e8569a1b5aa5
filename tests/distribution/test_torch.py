"""PyTorch: DistributedDataParallel with gloo on two processes; statistics as on TensorFlow."""

import keras
import pytest
from distribution.agreement import check
from distribution.launch import launch

pytestmark = pytest.mark.skipif(keras.config.backend() != "torch", reason="PyTorch alone")


def test_training():
    for found in launch("torch_worker.py", processes=2):
        check(found["stored, alone"], found["stored, together"])
        # Each process keeps the moving statistics of its half.
        check(found["batch, alone"], found["batch, together"], ignoring="moving_")
