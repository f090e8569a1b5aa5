"""Backups of a training run that are whole whenever it is killed."""

import os
import shutil
from pathlib import Path

import keras
import numpy as np
from keras import ops


class Backup(keras.callbacks.BackupAndRestore):
    """A `keras.callbacks.BackupAndRestore` that survives a kill at any moment, and keeps dropout.

    Keras writes weights, then the number of epochs, over those of the epoch before. Killed in
    between, a run does not start again, or trains an epoch twice, or believes to be at its end with
    untrained weights. Nor does Keras keep the states of seed generators: dropout starts over. Here
    each backup is a folder, which gets its name when it is complete and holds those states too.

    A run that goes on ends with the weights of one that was never killed if its batches depend on
    nothing but the number of the epoch. `fit(shuffle=True)` draws their order from a generator that
    no file keeps: let a `keras.utils.PyDataset` draw it from the number that `on_epoch_begin` gets.
    On PyTorch give dropout layers a `seed`: without one they draw from PyTorch's own generator.
    The states of other callbacks (`EarlyStopping`, `ReduceLROnPlateau`) and the history of losses
    start anew.

    The last backup stays when training ends, so that a kill before the weights are saved loses
    nothing: the same script ends at once. Delete it to train from the start.

    Args:
        backup_dir: The folder of the backups, of this run alone.

    Example:
        >>> import numpy as np, tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x, y = np.ones((8, 4)), np.ones((8, 1))
        >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[Backup(folder.name)])
        >>> history = model.fit(x, y, epochs=5, verbose=0, callbacks=[Backup(folder.name)])
        >>> history.epoch
        [2, 3, 4]
    """

    def __init__(self, backup_dir):
        self.folder = Path(backup_dir)
        super().__init__(str(self.folder / "unfinished"), delete_checkpoint=False)

    def on_train_begin(self, logs=None):
        """Go on from the last backup, if there is one."""
        shutil.rmtree(self.backup_dir, ignore_errors=True)
        for last in self._complete()[-1:]:
            shutil.copytree(last, self.backup_dir)
            for variable, state in zip(self._seeds(), np.load(last / "seeds.npy"), strict=True):
                variable.assign(state)
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Write a backup; only then delete the one before."""
        super().on_epoch_end(epoch, logs)
        states = [ops.convert_to_numpy(variable) for variable in self._seeds()]
        np.save(Path(self.backup_dir, "seeds.npy"), states)
        before = self._complete()
        os.replace(self.backup_dir, self.folder / f"epoch_{epoch + 1:06}")
        for one in before:
            shutil.rmtree(one)

    def _complete(self) -> list[Path]:
        return sorted(self.folder.glob("epoch_*"))

    def _seeds(self) -> list[keras.Variable]:
        weights = {id(weight) for weight in self.model.weights}
        return [variable for variable in self.model.variables if id(variable) not in weights]
