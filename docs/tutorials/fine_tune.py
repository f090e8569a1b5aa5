# %% [markdown]
# # Fine-tune from a published checkpoint
#
# Authors publish the weights of their networks as a PyTorch `state_dict`. The
# networks of this library load it by the authors' names. You load such a
# checkpoint, leave its classifier out, and train the network for other classes
# with few images: once from the checkpoint, once from scratch.
#
# This page downloads nothing. Instead, a small GFNet is trained here in plain
# PyTorch, with the names of the authors' code, and plays the part of the
# published checkpoint. The last section shows the same with a real one.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or "jax", "tensorflow"

import keras
import matplotlib.pyplot as plt
import numpy as np
import torch
from attn_core import load_torch_weights
from attn_core.models import GFNet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

# %% [markdown]
# ## The data
#
# An image shows one handwritten digit of scikit-learn at a random place of a
# canvas of 16 x 16 pixels. The checkpoint knows the digits 0 to 4, from 3,000
# images. The new task is to tell the digits 5 to 9 apart, with 100 images to
# train on.


# %%
def draw_images(digits, count, rng):
    """Return images, (count, 16, 16, 1), and which digit each shows."""
    images = np.zeros((count, 16, 16, 1), "float32")
    chosen = rng.integers(len(digits), size=count)
    for image, digit, (row, column) in zip(
        images, digits[chosen], rng.integers(9, size=(count, 2))
    ):
        image[row : row + 8, column : column + 8, 0] = digit / 16
    return images, chosen


data = load_digits()
rng = np.random.default_rng(0)
old = data.target < 5
x_old, chosen = draw_images(data.images[old], 3000, rng)
y_old = data.target[old][chosen]
d_train, d_test, l_train, l_test = train_test_split(
    data.images[~old], data.target[~old] - 5, random_state=0
)
x_train, chosen = draw_images(d_train, 100, rng)
y_train = l_train[chosen]
x_test, chosen = draw_images(d_test, 1000, rng)
y_test = l_test[chosen]

# %% [markdown]
# ## The checkpoint
#
# This is GFNet in PyTorch, with the names of the authors' code:
# `patch_embed.proj`, `pos_embed`, `blocks.0.filter.complex_weight` and so on.
# You need not read it to follow the rest.


# %%
class Filter(nn.Module):
    def __init__(self, side, width):
        super().__init__()
        self.complex_weight = nn.Parameter(
            0.02 * torch.randn(side, side // 2 + 1, width, 2)
        )

    def forward(self, x):  # (B, N, C)
        side = self.complex_weight.shape[0]
        image = x.view(len(x), side, side, -1)
        spectrum = torch.fft.rfft2(image, dim=(1, 2), norm="ortho")
        spectrum = spectrum * torch.view_as_complex(self.complex_weight)
        image = torch.fft.irfft2(
            spectrum, s=(side, side), dim=(1, 2), norm="ortho"
        )
        return image.reshape(x.shape)


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, side, width):
        super().__init__()
        self.norm1, self.norm2 = (
            nn.LayerNorm(width, eps=1e-6) for _ in range(2)
        )
        self.filter, self.mlp = Filter(side, width), MLP(width)

    def forward(self, x):
        return x + self.mlp(self.norm2(self.filter(self.norm1(x))))


class TorchGFNet(nn.Module):
    def __init__(self, side, width, depth, classes):
        super().__init__()
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(1, width, 2, stride=2)}
        )
        self.pos_embed = nn.Parameter(
            0.02 * torch.randn(1, side * side, width)
        )
        self.blocks = nn.Sequential(
            *(Block(side, width) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = (
            self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
            + self.pos_embed
        )
        return self.head(self.norm(self.blocks(x)).mean(1))


torch.manual_seed(0)
published = TorchGFNet(side=8, width=32, depth=3, classes=5)
x = torch.tensor(x_old).permute(0, 3, 1, 2)
y = torch.tensor(y_old)
optimizer = torch.optim.Adam(published.parameters(), 2e-3)
for _ in range(10):
    for batch in torch.randperm(len(x)).split(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(published(x[batch]), y[batch]).backward()
        optimizer.step()

state_dict = {
    name: tensor.detach().cpu()
    for name, tensor in published.state_dict().items()
}
for name in list(state_dict)[:4]:
    print(name, tuple(state_dict[name].shape))
print("...", len(state_dict), "entries")

# %% [markdown]
# ## Does the Keras network compute the same?
#
# Before you train anything, load everything, the classifier too, and compare
# the outputs.

# %%
options = {
    "depths": 3,
    "patch_size": 2,
    "image_size": 16,
    "in_channels": 1,
    "num_classes": 5,
}
same = GFNet(32, **options)
print(load_torch_weights(same, state_dict))
with torch.no_grad():
    theirs = published(x[:100]).numpy()
ours = same.predict(x_old[:100], verbose=0)
print(f"largest difference of the logits: {np.abs(ours - theirs).max():.1e}")

# %% [markdown]
# ## Fine-tune
#
# With `head=False` the classifier of the checkpoint is left out, because its
# classes are others. The function returns what it left out. All other weights
# must fit, otherwise none is loaded.


# %%
def new_network():
    keras.utils.set_random_seed(0)
    return GFNet(32, **options)


models = {"from scratch": new_network(), "from the checkpoint": new_network()}
for name in load_torch_weights(
    models["from the checkpoint"], state_dict, head=False
).left:
    print(name)

# %%
right = {}
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for name, model in models.items():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    test = (x_test, y_test)
    run = model.fit(
        x_train,
        y_train,
        batch_size=20,
        epochs=30,
        verbose=0,
        validation_data=test,
        validation_freq=5,
        validation_batch_size=200,
    )
    curve = [100 * accuracy for accuracy in run.history["val_accuracy"]]
    right[name] = curve[-1]
    axes.plot(range(5, 31, 5), curve, label=name)
    print(f"{name:20} {right[name]:.1f} % right")
axes.set(xlabel="epoch", ylabel="right on the test images (%)", ylim=(0, 100))
axes.legend()
plt.show()

# %% [markdown]
# ## With a real checkpoint
#
# The repository of the authors,
# [raoyongming/GFNet](https://github.com/raoyongming/GFNet), links the files of
# the variants. `torch.load` with `weights_only=True` opens such a file, and
# you go on as above. A `.safetensors` file needs no PyTorch: give its path to
# `load_torch_weights`. These lines did not run for this page, because they
# need the file:
#
# ```py
# checkpoint = torch.load("gfnet-ti.pth", weights_only=True)
# model = GFNet.from_variant("gfnet_ti", num_classes=5)
# load_torch_weights(model, checkpoint.get("model", checkpoint), head=False)
# ```
#
# [Whole networks](../models.md) lists the variants, and the checkpoints of
# timm that load too.
#
# ## The result

# %%
print(
    f"With 100 images of the new digits: {right['from the checkpoint']:.1f} % "
    f"right from the checkpoint, {right['from scratch']:.1f} % from scratch."
)
