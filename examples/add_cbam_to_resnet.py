"""Insert CBAM into every residual branch of a ResNet, and train it on handwritten digits.

The network is small, so this takes about a minute on a CPU. The same code works with
`keras.applications.ResNet50(weights="imagenet")`: `insert_attention` finds the branches in the
graph of the model, and keeps the weights.
"""

import sys

import keras
from attn_core import insert_attention
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

QUICK = "--quick" in sys.argv
keras.utils.set_random_seed(0)


def residual_block(x, width, strides):
    """Return the sum of two convolutions and `x`; `x` is projected if the shape changes."""
    branch = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False)(x)
    branch = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(branch))
    branch = layers.Conv2D(width, 3, padding="same", use_bias=False)(branch)
    branch = layers.BatchNormalization(momentum=0.9)(branch)
    if strides != 1 or x.shape[-1] != width:
        x = layers.Conv2D(width, 1, strides=strides, use_bias=False)(x)
    return layers.ReLU()(layers.Add()([x, branch]))


inputs = x = keras.Input((8, 8, 1))
for width, strides in [(16, 1), (32, 2)] if QUICK else [(16, 1), (16, 1), (32, 2), (32, 1)]:
    x = residual_block(x, width, strides)
resnet = keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))

model = insert_attention(resnet, "cbam", where="residual_branch", reduction=4)
inserted = [layer.name for layer in model.layers if layer.name.endswith("_cbam")]
print("CBAM after", ", ".join(name.removesuffix("_cbam") for name in inserted))
print(f"Parameters: {resnet.count_params():,} before, {model.count_params():,} after")

digits = load_digits()
images = (digits.images / 16).astype("float32")[..., None]
x_train, x_test, y_train, y_test = train_test_split(images, digits.target, random_state=0)
model.compile(
    keras.optimizers.Adam(3e-3),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(x_train, y_train, batch_size=64, epochs=1 if QUICK else 15, verbose=2)
_, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"Accuracy on unseen digits: {accuracy:.1%}")
