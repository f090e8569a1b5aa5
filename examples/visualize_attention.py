"""Train a model with attention on photographs, save it, load it, and draw its attention maps.

The model learns to distinguish pieces of two photographs that come with scikit-learn. Then it
receives each whole photograph. The pictures are written to the folder `attn-maps`.
"""

import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from attn_core import CBAM, RelativeSelfAttention, attention_maps, visualize
from keras import layers, ops
from sklearn.datasets import load_sample_image

QUICK = "--quick" in sys.argv
OUT = Path(tempfile.mkdtemp() if QUICK else "attn-maps")
keras.utils.set_random_seed(0)


def resized(image, height, width):
    """Return the image at another size, with values between 0 and 1."""
    return ops.convert_to_numpy(
        ops.image.resize(
            image.astype("float32") / 255, (height, width), antialias=True,
            data_format="channels_last",
        )
    )  # fmt: skip


photographs = [resized(load_sample_image(f"{name}.jpg"), 128, 192) for name in ("china", "flower")]


def pieces(count, rng):
    """Return pieces of 64 x 96 pixels, and for each piece the number of its photograph."""
    labels = rng.integers(0, 2, count)
    corners = rng.integers(0, (65, 97), (count, 2))
    cut = [
        photographs[label][top : top + 64, left : left + 96]
        for label, (top, left) in zip(labels, corners, strict=True)
    ]
    cut = [piece[:, ::-1] if rng.random() < 0.5 else piece for piece in cut]
    return np.stack(cut) + rng.normal(0, 0.05, (count, 1, 1, 3)).astype("float32"), labels


options = {"data_format": "channels_last"}
inputs = x = keras.Input((64, 96, 3))
for width in (16, 32):
    x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False, **options)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
x = CBAM(reduction=4, name="gates", **options)(x)
x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", **options)(x)
x = x + RelativeSelfAttention(num_heads=4, key_dim=16, name="attention", **options)(x)
x = layers.GlobalAveragePooling2D(**options)(layers.LayerNormalization()(x))
model = keras.Model(inputs, layers.Dense(2)(x))
model.compile(
    keras.optimizers.Adam(1e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
x_train, y_train = pieces(32 if QUICK else 1024, np.random.default_rng(0))
model.fit(x_train, y_train, batch_size=32, epochs=1 if QUICK else 6, verbose=2)

with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "model.keras")
    model = keras.saving.load_model(Path(folder) / "model.keras")

china, flower = (resized(photograph, 64, 96) for photograph in 255 * np.stack(photographs))
for path, maps in attention_maps(model, np.stack([china, flower])).items():
    print(path, [array.shape for array in maps] if isinstance(maps, tuple) else maps.shape)

OUT.mkdir(exist_ok=True)
pictures = {
    "gates.png": visualize(model, china, layer="gates", **options),
    "attention.png": visualize(model, china, layer="attention", query=(40, 30), **options),
    "flower.png": visualize(model, flower, query=(36, 48), **options),
}
for name, figure in pictures.items():
    figure.savefig(OUT / name, dpi=120)
    print("Saved", OUT / name)
