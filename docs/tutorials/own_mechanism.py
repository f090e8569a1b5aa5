# %% [markdown]
# # Write a mechanism of your own
#
# The base classes of this library take care of what all its layers share:
# checks of the input, both data formats, the configuration in saved files, and
# attention maps. You write a new mechanism in about 30 lines, check it, and
# train a network with it.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or "jax", "tensorflow"

import keras
import matplotlib.pyplot as plt
import numpy as np
from attn_core import SEAttention, attention_maps
from attn_core.layers import ImageLayer
from keras import ops
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

# %% [markdown]
# ## The idea
#
# Squeeze-and-excitation (`SEAttention`) computes one factor for each channel
# from the averages of all channels over the image. An object that covers a few
# pixels hardly changes an average. The new mechanism, a maximum gate, takes
# the maximum of each channel over the image instead:
#
# $$y = x \cdot \sigma(W_2\,\mathrm{relu}(W_1\,\max_{hw}(x)))$$
#
# ## The layer
#
# - `__init__` keeps each argument under its own name. From there it gets into
#   saved files.
# - `build` checks the shape and creates the weights.
# - `call` is written for images with the channels last. The base class
#   transposes if the layer was made with `data_format="channels_first"`.
# - `maps` says what kind of map the layer returns. Here it is one gate, as in
#   `SEAttention`, which contains factors of the input.
#   `compute_attention_shape` says its shape.


# %%
@keras.saving.register_keras_serializable(package="my_layers")
class MaxGate(ImageLayer):
    """Rescales each channel by a factor that depends on all maxima."""

    maps = SEAttention.maps

    def __init__(self, reduction=4, **kwargs):
        super().__init__(**kwargs)
        self.reduction = reduction

    def build(self, input_shape):
        _, _, channels = self.check_image(input_shape)
        options = {"use_bias": False, "dtype": self.dtype_policy}
        narrow = max(1, channels // self.reduction)
        self.squeeze = keras.layers.Dense(
            narrow, "relu", name="squeeze", **options
        )
        self.squeeze.build((None, channels))
        self.excite = keras.layers.Dense(
            channels, "sigmoid", name="excite", **options
        )
        self.excite.build((None, narrow))

    def call(self, x, return_attention_scores=False):
        x = self.to_channels_last(x)
        maxima = ops.max(x, axis=(1, 2), keepdims=True)  # (B, 1, 1, C)
        gate = self.from_channels_last(self.excite(self.squeeze(maxima)))
        output = self.from_channels_last(x) * gate
        return self.result(output, gate, return_attention_scores)

    def compute_attention_shape(self, input_shape):
        return self.channel_gate_shape(input_shape)


# %% [markdown]
# ## Check it
#
# The formula in NumPy gives the same result, the other data format too, and a
# wrong input is refused with a sentence that says what was expected.

# %%
x = np.random.default_rng(0).normal(size=(2, 7, 9, 16)).astype("float32")
layer = MaxGate()
y = ops.convert_to_numpy(layer(x))

w1, w2 = (
    ops.convert_to_numpy(kernel)
    for kernel in (layer.squeeze.kernel, layer.excite.kernel)
)
factors = 1 / (1 + np.exp(-np.maximum(x.max((1, 2)) @ w1, 0) @ w2))
difference = np.abs(y - x * factors[:, None, None]).max()
print(f"difference from the formula: {difference:.1e}")

first = MaxGate(data_format="channels_first")
first.build((None, 16, 7, 9))
first.set_weights(layer.get_weights())
z = ops.convert_to_numpy(first(x.transpose(0, 3, 1, 2)))
difference = np.abs(z.transpose(0, 2, 3, 1) - y).max()
print(f"difference with the channels first: {difference:.1e}")

try:
    MaxGate()(x[0])
except ValueError as error:
    print(str(error).splitlines()[0])

# %% [markdown]
# ## Train with it
#
# The task is that of [the first tutorial](see_it_help.md). A scene has a red,
# a green and a blue digit, and a square in the corner. The network names the
# digit that has the colour of the square.


# %%
def draw_scenes(digits, labels, count, rng):
    """Return images, (count, 32, 32, 3), and the asked digit in each."""
    places = range(0, 32, 8)
    cells = [(row, column) for row in places for column in places][1:]
    scenes = np.zeros((count, 32, 32, 3), "float32")
    chosen = rng.integers(len(digits), size=(count, 3))  # one of each colour
    asked = rng.integers(3, size=count)  # the colour of the square
    for scene, drawn, square in zip(scenes, digits[chosen], asked):
        scene[1:6, 1:6, square] = 1
        order = rng.permutation(len(cells))
        for colour, digit in enumerate(drawn):
            row, column = cells[order[colour]]
            scene[row : row + 8, column : column + 8, colour] = digit
    return scenes, labels[chosen[np.arange(count), asked]]


data = load_digits()
digits = (data.images / 16).astype("float32")
d_train, d_test, l_train, l_test = train_test_split(
    digits, data.target, random_state=0
)
rng = np.random.default_rng(0)
x_train, y_train = draw_scenes(d_train, l_train, 4000, rng)
x_test, y_test = draw_scenes(d_test, l_test, 1000, rng)


def build(attention):
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((32, 32, 3))
    for filters in (32, 64):
        x = keras.layers.Conv2D(
            filters, 3, strides=2, padding="same", use_bias=False
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Activation("relu")(x)
        x = attention(reduction=4, name=f"attention_{filters}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return model


right = {}
for attention in (SEAttention, MaxGate):
    model = build(attention)
    model.fit(x_train, y_train, batch_size=64, epochs=6, verbose=0)
    right[attention] = 100 * model.evaluate(x_test, y_test, verbose=0)[1]
    print(
        f"{attention.__name__:11} {model.count_params():,} parameters, "
        f"{right[attention]:.1f} % right"
    )

# %% [markdown]
# ## Save, load, look
#
# A saved model loads without further arguments, because the class is
# registered. `attention_maps` finds the new layer as it finds those of the
# library. The picture shows the factors of the first layer's channels for 30
# scenes, sorted by the colour of the square.

# %%
model.save("model.keras")
loaded = keras.saving.load_model("model.keras")
difference = np.abs(
    loaded.predict(x_test, verbose=0) - model.predict(x_test, verbose=0)
).max()
print(f"difference of the loaded model: {difference:.1e}")

square = x_test[:, 2, 2].argmax(-1)  # 0 red, 1 green, 2 blue
chosen = np.concatenate(
    [np.flatnonzero(square == colour)[:10] for colour in range(3)]
)
gates = attention_maps(loaded, x_test[chosen])
print({name: gate.shape for name, gate in gates.items()})

figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
axes.imshow(
    gates["attention_32"].reshape(30, -1), aspect="auto", vmin=0, vmax=1
)
axes.set(
    yticks=[4.5, 14.5, 24.5],
    yticklabels=["red", "green", "blue"],
    xlabel="channel",
)
plt.show()

# %% [markdown]
# ## The result

# %%
print(
    f"The new layer is right in {right[MaxGate]:.1f} % of the new scenes, "
    f"SEAttention in {right[SEAttention]:.1f} %."
)

# %% [markdown]
# This is one run of each, on a task with small objects: it does not say that a
# maximum is better in general. `TokenLayer` is the base of layers on tokens,
# `QueryLayer` that of layers with queries, keys and values. Both are in
# `attn_core.layers` too. To add a mechanism to the library itself, see
# [Contributing](../contributing.md).
