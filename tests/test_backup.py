"""A run that dies while it writes a backup goes on from the backup before."""

import keras
import numpy as np
import pytest
from attn_core._tools import backup
from attn_core._tools.backup import Backup

X = np.random.default_rng(0).standard_normal((16, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Death(BaseException):
    """What a kill would be."""


def train(folder, epochs=4):
    """Train from the last backup on; return the epochs trained, and all variables."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input((4,)), keras.layers.Dropout(0.5, seed=1), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    history = model.fit(
        X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=[Backup(folder)]
    )
    variables = model.variables + model.optimizer.variables
    return history.epoch, [keras.ops.convert_to_numpy(variable) for variable in variables]


@pytest.mark.parametrize(
    ("module", "name", "calls", "last"),
    [
        (np, "save", 2, 1),  # the weights of the third epoch are written, the seeds are not
        (backup.os, "replace", 2, 1),  # all is written, and has no name yet
        (backup.shutil, "rmtree", 2, 2),  # it has its name, beside the backup before
    ],
    ids=["while writing", "before the name", "after the name"],
)
def test_death_in_the_third_epoch(tmp_path, monkeypatch, module, name, calls, last):
    _, expected = train(tmp_path / "whole")
    real, count = getattr(module, name), iter(range(calls))

    def die(*arguments, **options):
        if next(count, None) is None:
            raise Death
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, die)
    with pytest.raises(Death):
        train(tmp_path / "killed")
    monkeypatch.undo()
    epochs, variables = train(tmp_path / "killed")
    assert epochs == list(range(last + 1, 4))
    for ours, theirs in zip(variables, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["epoch_000004"]
