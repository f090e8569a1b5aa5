# %% [markdown]
# # Tokens and padding
#
# Sequences of different lengths are padded to one length before they go into a
# network. The padding must not change the answer. You train a network with an
# attention layer on such sequences, and then measure what the padding changes.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or "jax", "tensorflow"

import keras
import matplotlib.pyplot as plt
import numpy as np
from attn_core import ScaledDotProductAttention, attention_maps

# %% [markdown]
# ## The task
#
# A sequence is a small dictionary with a question in front. `c? a3 c7 f1` asks
# for the number behind the letter c, and the answer is 7. There are 8 letters
# and 10 numbers. Each pair, such as `c7`, is one token, and each question,
# such as `c?`, is one token as well. A sequence has 2 to 8 pairs. The number 0
# is the padding.

# %%
LETTERS, NUMBERS = 8, 10
PAIRS = LETTERS * NUMBERS  # tokens 1 to 80 are pairs, 81 to 88 are questions


def draw_sequences(count, rng, length=1 + LETTERS):
    """Return tokens, (count, length), padded with 0, and the answers."""
    tokens = np.zeros((count, length), "int32")
    answers = np.zeros(count, "int32")
    for row in range(count):
        letters = rng.permutation(LETTERS)[: rng.integers(2, LETTERS + 1)]
        numbers = rng.integers(NUMBERS, size=len(letters))
        asked = rng.integers(len(letters))
        tokens[row, 0] = 1 + PAIRS + letters[asked]
        tokens[row, 1 : 1 + len(letters)] = 1 + letters * NUMBERS + numbers
        answers[row] = numbers[asked]
    return tokens, answers


def written(tokens):
    """Return the tokens as a reader writes them."""
    names = ["-"] + [f"{a}{n}" for a in "abcdefgh" for n in range(NUMBERS)]
    names += [f"{a}?" for a in "abcdefgh"]
    return [names[token] for token in tokens]


rng = np.random.default_rng(0)
x_train, y_train = draw_sequences(10000, rng)
x_test, y_test = draw_sequences(1000, rng)
for tokens, answer in zip(x_test[:3], y_test):
    print(*written(tokens), "  answer", answer)

# %% [markdown]
# ## The network, with and without attention
#
# `mask_zero=True` makes the embedding mark the padding. Keras hands this mask
# on to the layers that follow. The attention layer gives no weight to the
# padding, and the average leaves it out. The only difference between the two
# networks is the attention layer and the addition to its input.
#
# Add with the layer `keras.layers.Add`. A plus sign between two tensors is an
# operation and no layer: it does not hand the mask on, and then the average
# counts the padding without a warning.


# %%
def build(attention, mask_zero=True):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(1 + PAIRS + LETTERS, 32, mask_zero=mask_zero)(
        inputs
    )
    if attention:
        attended = ScaledDotProductAttention(num_heads=4, name="attention")(x)
        x = keras.layers.Add()(
            [x, attended]
        )  # x + attended would lose the mask
    x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(NUMBERS)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return model


models, right = {}, {}
for name, attention in (("without", False), ("with attention", True)):
    model = models[name] = build(attention)
    model.fit(x_train, y_train, batch_size=100, epochs=12, verbose=0)
    right[name] = 100 * model.evaluate(x_test, y_test, verbose=0)[1]
    print(f"{name:14} {right[name]:.1f} % right")

# %% [markdown]
# ## What it attends to
#
# The picture shows how much the question, the first token, attends to each
# token of one sequence. There are four heads. The padding gets no weight at
# all.

# %%
one = x_test[:1]
weights = attention_maps(models["with attention"], one)[
    "attention"
]  # (1, 4, 9, 9)
print("largest weight of the padding:", weights[..., one[0] == 0].max())

figure, axes = plt.subplots(figsize=(6, 2.2), layout="constrained")
axes.imshow(weights[0, :, 0], vmin=0)
axes.set_xticks(range(9), written(one[0]))
axes.set(yticks=range(4), ylabel="head")
plt.show()

# %% [markdown]
# ## Does padding change the answer?
#
# The same 1,000 sequences are padded to a length of 9, as above, and to a
# length of 60. The trained network gets both. The difference of its outputs is
# only rounding.

# %%
longer = np.pad(x_test, [(0, 0), (0, 51)])


def difference(model):
    short, long = (
        model.predict(x, batch_size=100, verbose=0) for x in (x_test, longer)
    )
    return np.abs(short - long).max(), 100 * np.mean(long.argmax(-1) == y_test)


masked, masked_right = difference(models["with attention"])
print(
    f"with the mask: largest difference {masked:.1e}, "
    f"{masked_right:.1f} % right"
)

# %% [markdown]
# To see that it is the mask that does this, the same weights go into a network
# with `mask_zero=False`. There the padding is a token like any other.

# %%
unmasked = build(attention=True, mask_zero=False)
unmasked.set_weights(models["with attention"].get_weights())
changed, changed_right = difference(unmasked)
print(
    f"without the mask: largest difference {changed:.1e}, "
    f"{changed_right:.1f} % right"
)

# %% [markdown]
# All layers of this library that take tokens use such masks. A layer that
# takes no mask, for example a layer on images, raises an error if its input
# has one, so that padding cannot leak into a result without being noticed:

# %%
from attn_core import SEAttention

x = keras.layers.Embedding(1 + PAIRS + LETTERS, 32, mask_zero=True)(x_test)
try:
    SEAttention()(x)
except ValueError as error:
    print(str(error).splitlines()[0])

# %% [markdown]
# ## The result

# %%
print(
    f"Attention answers {right['with attention']:.1f} % of the questions "
    f"instead of {right['without']:.1f} %.\n"
    f"51 more tokens of padding change its outputs by {masked:.0e} at most, "
    f"without the mask by {changed:.0f}."
)

# %% [markdown]
# [Start here](../start.md) says how to pass a mask yourself.
# `attn list --kind token` lists the mechanisms that take tokens.
