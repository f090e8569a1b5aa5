"""Train the same small network with five gates and without a gate: compare cost and accuracy.

Each network is trained once, which shows little: the differences are about as large as those
between two seeds. `attn demo` repeats the training, and `attn compare` measures time.
"""

import sys

import keras
from attn_core import (
    CBAM,
    CoordinateAttention,
    ECAAttention,
    SEAttention,
    TripletAttention,
    profile,
)
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

QUICK = "--quick" in sys.argv
GATES = {
    "none": lambda: layers.Identity(),
    "SE": lambda: SEAttention(reduction=4),
    "ECA": lambda: ECAAttention(),
    "CBAM": lambda: CBAM(reduction=4),
    "coordinate": lambda: CoordinateAttention(reduction=4),
    "triplet": lambda: TripletAttention(),
}

digits = load_digits()
images = (digits.images / 16).astype("float32")[..., None]
x_train, x_test, y_train, y_test = train_test_split(images, digits.target, random_state=0)
if QUICK:
    x_train, y_train = x_train[:128], y_train[:128]
    GATES = {name: GATES[name] for name in ("none", "SE", "CBAM")}

print(f"{'gate':<12}{'parameters':>12}{'multiply-adds':>15}{'accuracy':>10}")
for name, gate in GATES.items():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1))])
    for width, strides in ((16, 1), (32, 2)):
        model.add(layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
        model.add(gate())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10))
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x_train, y_train, batch_size=64, epochs=1 if QUICK else 15, verbose=0)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    cost = profile(model, (1, 8, 8, 1), modes=())
    print(
        f"{name:<12}{model.count_params():>12,}{cost.total_multiply_adds:>15,}{accuracy:>10.1%}",
        flush=True,
    )
