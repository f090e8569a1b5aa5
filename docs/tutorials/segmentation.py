# %% [markdown]
# # Segmentation: mark one digit of three
#
# In segmentation, the answer is a class for each pixel. The layers for this
# task let every position see the whole image at the full resolution. You train
# the same small network without attention and with two such mechanisms, and
# compare how well the marked pixels overlap with the right ones.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or "jax", "tensorflow"

import keras
import matplotlib.pyplot as plt
import numpy as np
from attn_core import CrissCrossAttention, DualAttention, attention_maps
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

# %% [markdown]
# ## The task
#
# A scene shows a red, a green and a blue handwritten digit at random places.
# The square in the corner has one of the three colours. The network has to
# mark the pixels of the digit of this colour, and of nothing else.


# %%
def draw_scenes(digits, count, rng):
    """Return images and the pixels of the asked digit in each."""
    cells = [(8 * row, 8 * column) for row in range(4) for column in range(4)][
        1:
    ]
    scenes = np.zeros((count, 32, 32, 3), "float32")
    marks = np.zeros((count, 32, 32, 1), "float32")
    asked = rng.integers(3, size=count)  # the colour of the square
    for scene, mark, square in zip(scenes, marks, asked):
        scene[1:6, 1:6, square] = 1
        for colour, cell in enumerate(rng.permutation(len(cells))[:3]):
            digit = digits[rng.integers(len(digits))]
            row, column = cells[cell]
            scene[row : row + 8, column : column + 8, colour] = digit
            if colour == square:
                mark[row : row + 8, column : column + 8, 0] = digit > 0.3
    return scenes, marks


digits = (load_digits().images / 16).astype("float32")
d_train, d_test = train_test_split(digits, random_state=0)
rng = np.random.default_rng(0)
x_train, y_train = draw_scenes(d_train, 2000, rng)
x_test, y_test = draw_scenes(d_test, 500, rng)

# %% [markdown]
# ## The network
#
# Two convolutions, the attention, and one transposed convolution back to the
# size of the scene. A position of the convolutions sees 7 x 7 pixels of the
# scene. From them it can say whether there is a digit and which colour it has,
# but not which colour the square has.


# %%
def build(attention):
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((32, 32, 3))
    for filters, strides in ((32, 2), (32, 1)):
        x = keras.layers.Conv2D(
            filters, 3, strides=strides, padding="same", use_bias=False
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.Activation("relu")(x)
    if attention is not None:
        x = attention(x)
    x = keras.layers.Conv2D(32, 1, activation="relu")(x)
    x = keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same")(x)
    model = keras.Model(inputs, x)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss)
    return model


# %% [markdown]
# ## Train and compare
#
# Criss-cross attention lets each position attend to its row and its column,
# and here it does so twice, so that every position can reach every other one.
# Dual attention lets each position attend to all positions at once, and each
# channel to all channels.
#
# The measure is the intersection over union (IoU): how many pixels are both
# marked and right, divided by how many are marked or right. A pixel is marked
# if its probability is above 0.3. The network without attention can do no
# better than to mark all three digits, of which one is right.


# %%
def mark(model):
    """Return the marked pixels of all test scenes, and their IoU in %."""
    logits = model.predict(x_test, batch_size=100, verbose=0)
    marked, right = 1 / (1 + np.exp(-logits)) > 0.3, y_test > 0
    return marked, 100 * np.sum(marked & right) / np.sum(marked | right)


layers = {
    "none": None,
    "criss-cross": CrissCrossAttention(
        reduction=2, recurrence=2, name="attention"
    ),
    "dual": DualAttention(reduction=2, name="attention"),
}
models, marks, iou = {}, {}, {}
for name, attention in layers.items():
    model = models[name] = build(attention)
    model.fit(x_train, y_train, batch_size=50, epochs=5, verbose=0)
    marks[name], iou[name] = mark(model)
    print(
        f"{name:12} {model.count_params():6,} parameters, "
        f"IoU {iou[name]:.1f} %"
    )

# %%
rows = {"scene": x_test, "right": y_test, **marks}
figure, grid = plt.subplots(
    len(rows), 7, figsize=(9, 6.5), layout="constrained"
)
for line, (name, images) in zip(grid, rows.items()):
    line[0].set_ylabel(name)
    for axes, image in zip(line, images):
        axes.imshow(image)
        axes.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## What a pixel attends to
#
# The positions of a digit have to find out which colour the square has. This
# is the map of dual attention between the positions: how much the cell with
# the red dot attends to each cell of the scene. Nearly all attention goes to a
# few cells. In these scenes with a red square they are those of the square; in
# those with a green one they are on the blue digit.

# %%
positions, _ = attention_maps(models["dual"], x_test[:7])[
    "attention"
]  # (7, 1, 256, 256)
figure, grid = plt.subplots(2, 7, figsize=(9, 2.8), layout="constrained")
shares = []
for (upper, lower), image, right, weights in zip(
    grid.T, x_test, y_test, positions[:, 0]
):
    row, column = np.argwhere(right[::2, ::2, 0])[0]  # a cell has 2 x 2 pixels
    seen = weights[16 * row + column].reshape(16, 16)
    shares.append(seen[:4, :4].sum())
    upper.imshow(image)
    upper.plot(2 * column, 2 * row, "o", color="red", markeredgecolor="white")
    lower.imshow(seen)
    for axes in (upper, lower):
        axes.set(xticks=[], yticks=[])
plt.show()
print(
    f"The corner of the square is {16 / 256:.2f} of the scene, "
    f"and gets {np.mean(shares):.2f} of the attention."
)

# %% [markdown]
# ## The result

# %%
print(
    f"IoU {iou['none']:.1f} % without attention, "
    f"{iou['criss-cross']:.1f} % with criss-cross, "
    f"{iou['dual']:.1f} % with dual attention."
)

# %% [markdown]
# This is one short run of each, with one random seed. Attention between all
# positions costs memory that grows with the square of their number.
# Criss-cross attention grows more slowly, so it suits larger images.
# [Comparing costs](../compare.md) has the figures.
