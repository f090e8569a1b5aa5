"""Convolutions with PyTorch's symmetric zero padding, computed as is fastest on each backend."""

from typing import Any

import keras
from keras import ops

from attn_core._ops.entries import split_at
from attn_core._ops.lowering import jax_on_cpu, on_torch, splits_groups
from attn_core._typing import Tensor

if keras.config.backend() == "torch":
    from attn_core._ops import kernels_torch

Pair = tuple[int, int]
Triple = tuple[int, int, int]


def pad_image(x: Tensor, padding: int | Pair) -> Tensor:
    """Zero-pad height and width of `(B, H, W, C)` by `padding` (int or pair) on both sides."""
    rows, columns = (padding, padding) if isinstance(padding, int) else padding
    if rows == columns == 0:
        return x
    return ops.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))


def conv2d(x: Tensor, kernel: Tensor, strides: Pair = (1, 1), dilation: Pair = (1, 1)) -> Tensor:
    """Convolve `(B, H, W, C)` with a kernel `(kh, kw, C // groups, filters)`, odd kh and kw.

    The image is padded by dilation * (k // 2) zeros on all sides, also at strides above one, where
    Keras' own padding "same" would shift the grid.
    """
    kernel = ops.cast(kernel, x.dtype)
    if on_torch():
        return kernels_torch.convolve(x, kernel, strides, _padding(kernel, dilation), dilation)
    groups = x.shape[-1] // kernel.shape[2]
    depthwise = groups > 1 and kernel.shape[2] == 1 and kernel.shape[3] == groups
    if groups == 1 and kernel.shape[3] == 1:
        return _one_filter(x, kernel, strides, dilation)
    if groups == 1:
        return _dense(x, kernel, strides, dilation)
    if depthwise and jax_on_cpu():
        from attn_core._ops import kernels_jax  # here: it loads parts of JAX that Keras does not

        return kernels_jax.depthwise(x, kernel, strides, dilation)
    if depthwise:
        x = pad_image(x, _padding(kernel, dilation))
        kernel = ops.transpose(kernel, (0, 1, 3, 2))
        return ops.depthwise_conv(x, kernel, strides, "valid", "channels_last", dilation)
    if splits_groups():
        if jax_on_cpu():
            kernel, groups = _merge_groups(kernel, groups)
        parts = zip(_split(x, groups), _split(kernel, groups), strict=True)
        return ops.concatenate([_dense(*part, strides, dilation) for part in parts], axis=-1)
    return _dense(x, kernel, strides, dilation)


def conv1d(x: Tensor, kernel: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Convolve `(B, T, C)` with a kernel `(k, C // groups, filters)`, odd k, as `conv2d` does.

    The signal is an image of one column there, for the operations that are fastest. Stride and
    dilation mean nothing along a row of one pixel: TensorFlow wants those of both axes to be equal.
    """
    image, kernel = ops.expand_dims(x, 2), ops.expand_dims(kernel, 1)
    return ops.squeeze(conv2d(image, kernel, (stride, stride), (dilation, dilation)), 2)


def conv3d(
    x: Tensor, kernel: Tensor, strides: Triple = (1, 1, 1), dilation: Triple = (1, 1, 1)
) -> Tensor:
    """Convolve `(B, D, H, W, C)` with a kernel `(kd, kh, kw, C // groups, filters)`, likewise."""
    kernel = ops.cast(kernel, x.dtype)
    padding = _padding(kernel, dilation)
    if on_torch():
        return kernels_torch.convolve(x, kernel, strides, padding, dilation)
    if jax_on_cpu() and kernel.shape[3] == x.shape[-1]:
        return _by_slices(x, kernel, strides, dilation)
    x = ops.pad(x, ((0, 0), *((one, one) for one in padding), (0, 0)))
    return ops.conv(x, kernel, strides, "valid", "channels_last", dilation)


def _by_slices(x: Tensor, kernel: Tensor, strides: Triple, dilation: Triple) -> Tensor:
    """Convolve a volume as images: each has the channels of all slices that the kernel meets."""
    depth, rows, columns, channels, filters = kernel.shape
    slices, reach = ops.shape(x)[1], dilation[0] * (depth // 2)
    x = ops.pad(x, ((0, 0), (reach, reach), (0, 0), (0, 0), (0, 0)))
    starts = range(0, depth * dilation[0], dilation[0])
    parts = [x[:, start : start + slices : strides[0]] for start in starts]
    x = ops.concatenate(parts, axis=-1)  # (B, D, H, W, depth * C)
    kernel = ops.reshape(ops.moveaxis(kernel, 0, 2), (rows, columns, depth * channels, filters))
    images = ops.reshape(x, (-1, *ops.shape(x)[2:]))
    images = conv2d(images, kernel, strides[1:], dilation[1:])
    return ops.reshape(images, (-1, ops.shape(x)[1], *ops.shape(images)[1:]))


def _split(x: Tensor, groups: int) -> list[Tensor]:
    """Split the last axis at given places.

    Given only the number of parts, ONNX Runtime would take all splits of one input for the same.
    """
    width = x.shape[-1] // groups
    return split_at(x, *(width * part for part in range(1, groups)))


def _merge_groups(kernel: Tensor, groups: int) -> tuple[Tensor, int]:
    """Join groups of few filters, with zeros between them; return the kernel and their number.

    Each is then a convolution to at least 8 filters, or to 32 where the kernel is small.
    """
    rows, columns, width, filters = kernel.shape
    each, enough = filters // groups, 32 if rows * columns <= 9 else 8
    merged = 1
    while merged < groups and merged * each < enough:
        merged = next(more for more in range(merged + 1, groups + 1) if groups % more == 0)
    if merged == 1:
        return kernel, groups
    kernel = ops.reshape(kernel, (rows, columns, width, groups // merged, merged, each))
    around = ((0, 0),) * 4
    parts = [
        ops.pad(kernel[..., place, :], (*around, (place * each, (merged - 1 - place) * each)))
        for place in range(merged)
    ]
    kernel = ops.stack(parts, axis=2)  # (rows, columns, merged, width, groups // merged, filters)
    return ops.reshape(kernel, (rows, columns, merged * width, filters)), groups // merged


def _padding(kernel: Tensor, dilation: tuple[int, ...]) -> Any:
    return tuple(d * (k // 2) for k, d in zip(kernel.shape[:-2], dilation, strict=True))


def _dense(x: Tensor, kernel: Tensor, strides: Pair, dilation: Pair) -> Tensor:
    if strides == (1, 1):
        return ops.conv(x, kernel, strides, "same", "channels_last", dilation)
    x = pad_image(x, _padding(kernel, dilation))
    return ops.conv(x, kernel, strides, "valid", "channels_last", dilation)


def _one_filter(x: Tensor, kernel: Tensor, strides: Pair, dilation: Pair) -> Tensor:
    """Convolve to one channel, as the gates over positions do."""
    if jax_on_cpu() and strides == dilation == (1, 1) and kernel.shape[2] <= 4:
        from attn_core._ops import kernels_jax  # here: it loads parts of JAX that Keras does not

        return kernels_jax.one_filter(x, kernel)
    return _dense(x, kernel, strides, dilation)
