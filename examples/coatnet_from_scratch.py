"""Train a small CoAtNet from scratch, save it, load it, and use it for images of another size.

`CoAtNet.from_variant("coatnet_0")` is the network of the paper; this one is small enough for a CPU.
"""

import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from attn_core.models import CoAtNet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

QUICK = "--quick" in sys.argv
keras.utils.set_random_seed(0)


def enlarged(images, size):
    """Return digits of 8 x 8 pixels as RGB images of `size` x `size`."""
    return np.repeat(images.repeat(size // 8, 1).repeat(size // 8, 2)[..., None], 3, axis=-1)


digits = load_digits()
images = (digits.images / 16).astype("float32")
x_train, x_test, y_train, y_test = train_test_split(images, digits.target, random_state=0)
if QUICK:
    x_train, y_train, x_test, y_test = x_train[:64], y_train[:64], x_test[:32], y_test[:32]

model = CoAtNet(
    embed_dim=8 if QUICK else (16, 24, 48, 64),
    depths=1 if QUICK else (1, 1, 2, 1),
    stem_width=8 if QUICK else 16,
    key_dim=8,
    representation_size=None,
    num_classes=10,
    drop_path=0.1,
    image_size=64,
)
print(f"CoAtNet of {model.count_params():,} parameters")
epochs = 1 if QUICK else 12
steps = epochs * -(-len(x_train) // 64)
model.compile(
    keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(2e-3, steps), weight_decay=0.02),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(enlarged(x_train, 64), y_train, batch_size=64, epochs=epochs, verbose=2)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "coatnet.keras"
    model.save(path)
    model = keras.saving.load_model(path)  # no custom_objects: the layers are registered
_, accuracy = model.evaluate(enlarged(x_test, 64), y_test, verbose=0)
print(f"Accuracy on unseen digits of 64 x 64 pixels: {accuracy:.1%}")
before = model.predict(enlarged(x_test, 64), verbose=0).argmax(axis=-1)

larger = model.resized(96)  # the biases of relative positions are interpolated
after = larger.predict(enlarged(x_test, 96), verbose=0).argmax(axis=-1)
print(f"At 96 x 96, without training, it predicts the same class in {np.mean(before == after):.1%}")
