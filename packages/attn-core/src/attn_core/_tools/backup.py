"""`Backup`: backups of a training run that are complete whenever it is killed."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops


class Backup(keras.callbacks.BackupAndRestore):
    """A `keras.callbacks.BackupAndRestore` whose backups stay intact if the run is killed.

    Keras first overwrites the weights of the previous epoch, then the number of epochs. If a run is
    killed between the two, it cannot be continued, or it trains an epoch twice, or it returns
    untrained weights as the final ones. Keras also does not save the states of seed generators, so
    dropout starts again from its first state. Here each backup is a folder that gets its final name
    when it is complete. It also contains these states.

    If the batches of a run depend only on the number of the epoch, a run that continues from a
    backup ends with the same weights as a run that was never killed. `fit(shuffle=True)` draws the
    order of the batches from a generator that no file saves. Instead, use a `keras.utils.PyDataset`
    that draws the order from the number of the epoch, which `on_epoch_begin` receives. On PyTorch,
    give dropout layers a `seed`; otherwise they use PyTorch's own generator. The states of other
    callbacks (`EarlyStopping`, `ReduceLROnPlateau`) and the history of losses are not saved.

    The last backup stays after the training, so nothing is lost if the process is killed before you
    save the weights. If you start the same script again, it ends at once. To train from the start,
    delete the folder.

    Args:
        backup_dir: The folder for the backups of this run; no other run may use it.

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

    def __init__(self, backup_dir: str | os.PathLike[str]) -> None:
        self.folder: Path = Path(backup_dir)
        super().__init__(str(self.folder / "unfinished"), delete_checkpoint=False)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Continue from the last backup, if there is one."""
        shutil.rmtree(self.backup_dir, ignore_errors=True)
        for last in self._complete()[-1:]:
            shutil.copytree(last, self.backup_dir)
            for variable, state in zip(self._seeds(), np.load(last / "seeds.npy"), strict=True):
                variable.assign(state)
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write a backup; then delete the one before."""
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
