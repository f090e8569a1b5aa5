"""What PyTorch computes faster by its own functions than through `keras.ops`.

Imported on PyTorch alone; `lowering` says where it is used. On two CPU cores a depthwise 3x3
convolution of 4x128x128x64 takes 6 instead of 80 ms, and 21 instead of 58 with its gradient; a
dense 3x3 one of 8x14x14x256 16 instead of 34 ms. The numbers are equal. Keras pads into a new
tensor, whose layout is not the one that PyTorch's convolutions are quick in.

On one core a batch normalization of 8x14x14x256 takes 0.10 instead of 0.36 ms, and a training step
of one 1.3 instead of 17.7 ms: Keras writes it as separate operations. PyTorch's
group normalization is not used: with the channels last it subtracts the square of the mean from the
mean of the squares, which is wrong where an image varies little.

ONNX cannot express a norm over an axis whose length is read from the input, nor indices made flat
by `ravel`, as Keras writes them.
"""

from typing import Any

import torch

from attn_core._ops.lowering import convolves_products
from attn_core._typing import Tensor

Lengths = tuple[int, ...]
ENTRIES_IN_CACHE = 200_000


def convolve(
    x: Tensor, kernel: Tensor, strides: Lengths, padding: Lengths, dilation: Lengths
) -> Tensor:
    """Convolve `(B, H, W, C)` with a kernel `(kh, kw, C // groups, filters)`; or volumes."""
    axes = len(strides)
    function = {2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}[axes]
    groups = x.shape[-1] // kernel.shape[-2]
    kernel = kernel.permute(axes + 1, axes, *range(axes))
    if len(kernel) == 1:  # PyTorch takes the strides of a single filter for another layout
        kernel = kernel.contiguous()
    # A view: to PyTorch, an image with its channels last. ONNX takes no axes below 0.
    image = x.permute(0, axes + 1, *range(1, axes + 1))
    y = function(image, kernel, None, strides, padding, dilation, groups)
    return y.permute(0, *range(2, axes + 2), 1)


def _image(x: Tensor) -> Tensor:
    """View `(..., C)` as an image with its channels last, whatever its rank."""
    return (x if x.ndim == 4 else x.reshape(1, -1, 1, x.shape[-1])).permute(0, 3, 1, 2)


def batch_normalization(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    offset: Tensor | None,
    scale: Tensor | None,
    epsilon: float,
) -> Tensor:
    """Normalize the channels of `(..., C)` with the given statistics."""
    statistics = mean, variance, scale, offset
    y = torch.nn.functional.batch_norm(_image(x), *statistics, False, 0.0, epsilon)
    return y.permute(0, 2, 3, 1).reshape(x.shape)


def batch_normalization_in_training(
    x: Tensor, offset: Tensor | None, scale: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize the channels of `(..., C)`; return also their mean and their variance.

    PyTorch's kernel adds the statistics of channels that come last up one by one, and so rounds
    more than the means here do. Its gradient takes these means.
    """
    image = _image(x)
    with torch.no_grad():
        rows = image.permute(0, 2, 3, 1).flatten(0, 2)
        mean = rows.mean(0)
        variance = _variance(rows, mean)
    y = _BatchNormalization.apply(image, scale, offset, mean, variance, epsilon)
    return y.permute(0, 2, 3, 1).reshape(x.shape), mean, variance


def _variance(rows: Tensor, mean: Tensor) -> Tensor:
    """Return the variance of each column of a matrix.

    On CPUs it is computed of some rows at a time, which stay in the cache: on two cores that of
    1568x1024 takes 0.5 instead of 1.0 ms, and no new memory of the size of `rows`.
    """
    if not rows.is_cpu or torch.compiler.is_compiling():
        return (rows - mean).square().mean(0)
    parts = rows.split(max(1, ENTRIES_IN_CACHE // len(mean)))
    sums = [(part - mean).square_().sum(0) for part in parts]
    return torch.stack(sums).sum(0) / len(rows)


class _BatchNormalization(torch.autograd.Function):
    """Normalization with given statistics, with the gradient for those of the batch."""

    @staticmethod
    def forward(
        image: Tensor,
        scale: Tensor | None,
        offset: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        epsilon: float,
    ) -> Tensor:
        statistics = mean, variance, scale, offset
        return torch.nn.functional.batch_norm(image, *statistics, False, 0.0, epsilon)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        image, scale, _, mean, variance, ctx.epsilon = inputs
        ctx.save_for_backward(image, scale, mean, variance)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        image, scale, mean, variance = ctx.saved_tensors
        root = torch.rsqrt(variance + ctx.epsilon)
        statistics = None, None, mean, root  # moving ones, which are not used, then the batch's
        wanted = list(ctx.needs_input_grad[:3])
        gradients = torch.ops.aten.native_batch_norm_backward(
            gradient, image, scale, *statistics, True, ctx.epsilon, wanted
        )
        return *gradients, None, None, None


def dense(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `x W + b` of `(..., C)` by one product, or by one convolution."""
    if convolves_products() and _is_large_product(x, kernel):
        weight = kernel.t()[:, :, None, None]
        rows = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)  # one row of pixels
        y = torch.nn.functional.conv2d(rows, weight, bias)
        return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))
    return torch.nn.functional.linear(x, kernel.t(), bias)


def _is_large_product(x: Tensor, kernel: Tensor) -> bool:
    """Whether a product takes longer than what oneDNN does before it: it reorders the kernel.

    With one thread PyTorch gives the convolution to MKL. Compiled or exported, a product stays one.
    """
    channels, units = kernel.shape
    rows = x.numel() // channels
    return (
        x.is_cpu
        and rows >= 512
        and rows * channels * units >= 8_000_000
        and x.dtype == kernel.dtype == torch.float32
        and torch.get_num_threads() > 1
        and not (torch.compiler.is_compiling() or torch.jit.is_tracing())
    )


def layer_normalization(
    x: Tensor, channels: int, offset: Tensor | None, scale: Tensor | None, epsilon: float
) -> Tensor:
    """Normalize the last axis, of a given length."""
    return torch.nn.functional.layer_norm(x, (channels,), scale, offset, epsilon)


def average_pool(x: Tensor, size: int, strides: int, padding: int) -> Tensor:
    """Return the means of square windows of `(B, H, W, C)`, with zeros around the image.

    PyTorch pools a view of images with their channels last: on one core 3x3 windows of 8x14x14x256,
    2 apart, take 0.07 ms. Keras copies them to channels first, and it takes 1.3 ms.
    """
    image = x.permute(0, 3, 1, 2)
    y = torch.nn.functional.avg_pool2d(image, size, strides, padding)
    return y.permute(0, 2, 3, 1)


def take(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Return the entries of an axis at indices of any shape, none of them negative."""
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return torch.index_select(x, axis, indices.reshape(-1)).reshape(shape)


def attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float, bias: Tensor | None
) -> Tensor:
    """Compute softmax(scale * Q K^T + bias) V of `(B, N, heads, width)`.

    Keras copies query, key and value to put the heads first; PyTorch's kernel reads them in place.
    """
    heads_first = [x.transpose(1, 2) for x in (query, key, value)]
    y = torch.nn.functional.scaled_dot_product_attention(*heads_first, bias, scale=scale)
    return y.transpose(1, 2)
