"""Load weights of the authors' PyTorch code from a state_dict, which this example creates itself.

The names are those of moskomule/senet.pytorch, where `SELayer` is a part of a larger network.
`attn convert` converts a file written by `torch.save` to a Keras weights file.
"""

import tempfile
from pathlib import Path

import numpy as np
from attn_core import SEAttention, load_torch_weights
from keras import ops

rng = np.random.default_rng(0)
state_dict = {  # with PyTorch: torch_model.state_dict()
    "layer1.0.conv1.weight": rng.standard_normal((32, 32, 3, 3)).astype("float32"),
    "layer1.0.se.fc.0.weight": rng.standard_normal((8, 32)).astype("float32"),
    "layer1.0.se.fc.2.weight": rng.standard_normal((32, 8)).astype("float32"),
}

layer = SEAttention(reduction=4, data_format="channels_last")
layer.build((None, None, None, 32))
load_torch_weights(layer, state_dict, prefix="layer1.0.se.")

with tempfile.TemporaryDirectory() as folder:  # from a file: .npz or .safetensors
    path = Path(folder) / "checkpoint.npz"
    np.savez(path, **state_dict)
    load_torch_weights(layer, path, prefix="layer1.0.se.")

x = rng.standard_normal((2, 7, 7, 32)).astype("float32")
squeezed = np.maximum(x.mean((1, 2)) @ state_dict["layer1.0.se.fc.0.weight"].T, 0)
gate = 1 / (1 + np.exp(-squeezed @ state_dict["layer1.0.se.fc.2.weight"].T))
error = np.abs(ops.convert_to_numpy(layer(x)) - x * gate[:, None, None]).max()
print(f"Largest difference from the formula, computed by NumPy: {error:.1e}")
assert error < 1e-5

print("\nThe same checkpoint in a layer that it does not fit:")
other = SEAttention(reduction=8, use_bias=True, data_format="channels_last")
other.build((None, None, None, 32))
try:
    load_torch_weights(other, state_dict, prefix="layer1.0.se.")
except ValueError as error:
    print(error)
