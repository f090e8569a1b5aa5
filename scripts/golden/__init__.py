"""Reference vectors: what a module of PyTorch computes, as a file that the tests read.

Write a Python file with a function that returns a `Source`, for example `se.py`:

    import torch
    from scripts.golden import Source
    from their_code import SELayer  # the authors' module, unchanged

    def make():
        return Source(
            module=SELayer(64, reduction=16),
            layer="SEAttention",
            config={"reduction": 16},
            inputs={"x": torch.randn(2, 7, 7, 64)},  # images are channels last
            reference={"repo": "https://github.com/...", "commit": "...", "path": "...",
                       "class": "SELayer", "args": {"channel": 64, "reduction": 16}},
        )

and run from the root of the repository, in an environment with PyTorch, Keras and attn-core:

    python -m scripts.golden se.py:make se_attention__default

All weights get random values, so that weights which start at zero hide nothing. The module runs in
float64, and `tests/golden/se_attention__default.npz` is written if the numbers hold:

- the output is finite, and the same when computed again, and in float32;
- the gradient agrees with finite differences;
- every weight matters: the output changes when the weight does;
- read back from the file, our layer gives the same output and gradient, if it exists already.
"""

from scripts.golden.source import Source as Source
from scripts.golden.vector import RefusedError as RefusedError
from scripts.golden.vector import write as write
