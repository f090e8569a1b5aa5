# %% [markdown]
# # Add attention and see it help
#
# You train a small network twice, without attention and with one line of it
# more, on a task that needs attention. Then you draw where the trained network
# looks.
#
# Install the library with one backend: `pip install "attn-core[torch,demo]"`.
# The backend must be set before Keras is imported.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or "jax", "tensorflow"

import keras
import matplotlib.pyplot as plt
import numpy as np
from attn_core import CBAM, attention_maps
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

# %% [markdown]
# ## The task
#
# A scene shows three handwritten digits, one red, one green and one blue, at
# random places. The square in the corner has one of the three colours. The
# network has to name the digit of this colour. The digits come from
# scikit-learn, and those in the test scenes do not appear in the training
# scenes.


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

figure, axes = plt.subplots(1, 6, figsize=(9, 1.8), layout="constrained")
for one, image, label in zip(axes, x_test, y_test):
    one.imshow(image)
    one.set(xticks=[], yticks=[], title=f"answer {label}")
plt.show()

# %% [markdown]
# A convolution sees only a small part of the scene. The network below has two
# convolutions and then averages over all positions, so it knows which digits
# there are, but it can hardly connect a digit with a distant square.
#
# ## The network, with and without
#
# The only difference is the line with `CBAM`, after each convolution. CBAM
# multiplies each channel and then each position by a factor that it computes
# from the whole image. Its output has the shape of its input.


# %%
def build(attention):
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((32, 32, 3))
    for filters in (32, 64):
        x = keras.layers.Conv2D(
            filters, 3, strides=2, padding="same", use_bias=False
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Activation("relu")(x)
        if attention:
            x = CBAM(reduction=4, name=f"cbam_{filters}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return model


models, curves = {}, {}
for name, attention in (("without", False), ("with CBAM", True)):
    model = models[name] = build(attention)
    test = (x_test, y_test)
    run = model.fit(
        x_train,
        y_train,
        batch_size=64,
        epochs=8,
        validation_data=test,
        verbose=0,
    )
    curves[name] = [100 * accuracy for accuracy in run.history["val_accuracy"]]
    print(
        f"{name:9}  {model.count_params():6,} parameters  "
        f"{curves[name][-1]:.1f} % right"
    )

# %%
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for name, curve in curves.items():
    axes.plot(range(1, 9), curve, label=name)
axes.set(xlabel="epoch", ylabel="right on new scenes (%)", ylim=(0, 100))
axes.legend()
plt.show()

# %% [markdown]
# ## What the attention does
#
# `attention_maps` returns the maps of all attention layers of a model. CBAM
# has two: a factor for each channel, and one for each position. The second row
# shows the factors of the positions in the first layer: the empty background
# is even, and the places with colours differ from it.

# %%
maps = attention_maps(models["with CBAM"], x_test[:6])
for name, (channels, positions) in maps.items():
    print(name, channels.shape, positions.shape)

figure, axes = plt.subplots(2, 6, figsize=(9, 3.2), layout="constrained")
for column, image, weights in zip(axes.T, x_test, maps["cbam_32"][1]):
    column[0].imshow(image)
    column[1].imshow(weights[..., 0])
    for one in column:
        one.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The factors of the channels explain the gain. The square says which colour
# counts, and CBAM can turn down the channels that respond to other colours.
# Each row of the picture shows the mean factors of the 32 channels in the
# first layer, for scenes with a square of one colour. The rows differ. Between
# scenes with the same colour of the square, the factors hardly change.

# %%
maps = attention_maps(models["with CBAM"], x_test[:300])
gates = maps["cbam_32"][0].reshape(300, -1)
square = x_test[:300, 2, 2].argmax(-1)  # 0 red, 1 green, 2 blue
means = np.stack([gates[square == colour].mean(0) for colour in range(3)])
spreads = [gates[square == colour].std(0).mean() for colour in range(3)]
within = np.mean(spreads)
print(
    f"standard deviation between the colours {means.std(0).mean():.3f}, "
    f"within one colour {within:.3f}"
)

figure, axes = plt.subplots(figsize=(9, 1.6), layout="constrained")
picture = axes.imshow(means, aspect="auto", vmin=0, vmax=1)
axes.set(
    yticks=[0, 1, 2], yticklabels=["red", "green", "blue"], xlabel="channel"
)
figure.colorbar(picture, label="factor")
plt.show()

# %% [markdown]
# ## The result

# %%
extra = models["with CBAM"].count_params() - models["without"].count_params()
print(
    f"With {extra:,} more parameters, the network names the digit in "
    f"{curves['with CBAM'][-1]:.1f} % of the new scenes "
    f"instead of {curves['without'][-1]:.1f} %."
)

# %% [markdown]
# This is one run of each, with one random seed: another seed gives other
# figures. `attn demo` repeats such a comparison with several mechanisms and
# seeds, see [the command line](../command_line.md). [Choose a
# mechanism](../choose.md) has all of them.
