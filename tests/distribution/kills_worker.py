"""Train, be killed, go on, over and over; print how such runs end, beside those never killed.

    kills_worker.py FOLDER KILLS

The process imports everything, computes nothing, and forks the ones that are killed: they start
within a second.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np
from attn_core import SEAttention
from attn_core._tools.backup import Backup

EPOCHS = 30


class Shuffled(keras.utils.PyDataset):
    """Batches in an order that depends on the number of the epoch alone."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(1)
        self.x = rng.standard_normal((256, 8, 8, 1)).astype("float32")
        self.y = rng.integers(0, 10, 256)

    def start(self, epoch, logs=None):
        self.order = np.random.default_rng(epoch).permutation(256).reshape(8, 32)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        part = self.order[index]
        return self.x[part], self.y[part]


def train(folder: Path) -> None:
    """Train, from the last backup on; write all variables to a file."""
    keras.utils.set_random_seed(1)
    images = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 3, activation="relu")(images)
    x = keras.layers.Dropout(0.2)(SEAttention(2)(keras.layers.BatchNormalization()(x)))
    logits = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, logits)
    model.compile(
        keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    data = Shuffled()
    data.start(0)
    order = keras.callbacks.LambdaCallback(on_epoch_begin=data.start)
    backup = Backup(folder / "backup")
    model.fit(data, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[order, backup])
    variables = [keras.ops.convert_to_numpy(v) for v in model.variables + model.optimizer.variables]
    np.savez(folder / "unfinished.npz", *variables)
    os.replace(folder / "unfinished.npz", folder / "variables.npz")


def run(folder: Path, seconds: float = 60) -> bool:
    """Train in another process, for so long at most; return whether it was killed."""
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            train(folder)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    end = time.monotonic() + seconds
    while True:
        killed = time.monotonic() >= end
        if killed:
            os.kill(child, signal.SIGKILL)
        ended, status = os.waitpid(child, 0 if killed else os.WNOHANG)
        if ended:
            assert status in (0, signal.SIGKILL), f"it ended with {status}"
            return status != 0
        time.sleep(0.002)


def difference(one: Path, other: Path) -> float:
    """Return the largest difference between the variables of two runs."""
    with np.load(one / "variables.npz") as ours, np.load(other / "variables.npz") as theirs:
        assert ours.files == theirs.files
        return max(float(np.abs(ours[n] - theirs[n].astype(ours[n].dtype)).max()) for n in ours)


def main() -> None:
    """Print what was found."""
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    run(folder / "first")  # compiles
    start = time.monotonic()
    run(folder / "whole")
    duration = time.monotonic() - start
    found = {"again": difference(folder / "first", folder / "whole"), "runs": [], "epochs": []}
    rng = random.Random(1)
    while len(found["epochs"]) < kills:
        killed = folder / f"killed_{len(found['runs'])}"
        while run(killed, rng.uniform(0, duration)):
            backups = sorted(path.name for path in killed.glob("backup/epoch_*"))
            found["epochs"].append(int(backups[-1][-6:]) if backups else 0)
        found["runs"].append(difference(killed, folder / "whole"))
    print(json.dumps({**found, "seconds": duration}))


if __name__ == "__main__":
    main()
