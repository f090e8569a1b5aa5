"""TensorFlow: MirroredStrategy on two virtual CPUs, MultiWorkerMirroredStrategy on two processes.

With stored statistics the losses are those of one device. With batch statistics each device
normalises by its own half, so they are those of one device that averages the losses of two halves.
"""

import keras
import pytest
from distribution.agreement import check
from distribution.launch import launch

pytestmark = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow alone")


@pytest.fixture(scope="module")
def one():
    (found,) = launch("tensorflow_worker.py", "one")
    return found


@pytest.mark.parametrize(("mode", "processes"), [("mirrored", 1), ("workers", 2)])
def test_training(one, mode, processes):
    for found in launch("tensorflow_worker.py", mode, processes=processes):
        check(one["stored"], found["stored"])
        check(one["batch"], found["batch"], ignoring="moving_")  # each keeps those of its half
