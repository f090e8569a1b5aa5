"""2D convolution with PyTorch's symmetric zero padding, by the fastest way each backend has."""

from keras import ops

from attn_core.ops.lowering import jax_on_cpu, on_torch, splits_groups


def pad_image(x, padding):
    """Zero-pad height and width of `(B, H, W, C)` by `padding` (int or pair) on both sides."""
    rows, columns = (padding, padding) if isinstance(padding, int) else padding
    if rows == columns == 0:
        return x
    return ops.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))


def conv2d(x, kernel, strides=(1, 1), dilation=(1, 1)):
    """Convolve `(B, H, W, C)` with a kernel `(kh, kw, C // groups, filters)`, odd kh and kw.

    The image is padded by dilation * (k // 2) zeros on all sides, also at strides above one, where
    Keras' own padding "same" would shift the grid.
    """
    kernel = ops.cast(kernel, x.dtype)
    groups = x.shape[-1] // kernel.shape[2]
    depthwise = groups > 1 and kernel.shape[2] == 1 and kernel.shape[3] == groups
    if groups == 1 and kernel.shape[3] == 1:
        return _one_filter(x, kernel, strides, dilation)
    if groups == 1:
        return _dense(x, kernel, strides, dilation)
    if depthwise and jax_on_cpu():
        return _shifted(x, kernel, strides, dilation)
    if depthwise:
        x = pad_image(x, _padding(kernel, dilation))
        kernel = ops.transpose(kernel, (0, 1, 3, 2))
        return ops.depthwise_conv(x, kernel, strides, "valid", "channels_last", dilation)
    if splits_groups():
        parts = zip(_split(x, groups), _split(kernel, groups), strict=True)
        return ops.concatenate([_dense(*part, strides, dilation) for part in parts], axis=-1)
    return _dense(x, kernel, strides, dilation)


def _split(x, groups: int) -> list:
    """Split the last axis by sizes: by number, ONNX Runtime takes one input's splits for equal."""
    width = x.shape[-1] // groups
    return ops.split(x, [width * part for part in range(1, groups)], axis=-1)


def _padding(kernel, dilation) -> tuple[int, int]:
    return tuple(d * (k // 2) for k, d in zip(kernel.shape[:2], dilation, strict=True))


def _dense(x, kernel, strides, dilation):
    if strides == (1, 1):
        return ops.conv(x, kernel, strides, "same", "channels_last", dilation)
    x = pad_image(x, _padding(kernel, dilation))
    return ops.conv(x, kernel, strides, "valid", "channels_last", dilation)


def _one_filter(x, kernel, strides, dilation):
    """Convolution to one channel, as of the gates over positions."""
    rows, columns, channels, _ = kernel.shape
    if jax_on_cpu() and strides == dilation == (1, 1) and channels <= 4:
        height, width = ops.shape(x)[1], ops.shape(x)[2]
        x = pad_image(x, _padding(kernel, dilation))
        x = ops.concatenate([x[:, :, left : left + width] for left in range(columns)], axis=-1)
        kernel = ops.transpose(ops.reshape(kernel, (rows, columns * channels)), (1, 0))
        x = ops.matmul(x, kernel)  # (B, H + rows - 1, W, rows)
        return sum(x[:, top : top + height, :, top : top + 1] for top in range(rows))
    if on_torch():  # which takes one filter's strides for those of another layout: copy it
        kernel = ops.reshape(ops.transpose(kernel, (2, 0, 1, 3)), (-1,))
        kernel = ops.transpose(ops.reshape(kernel, (channels, rows, columns, 1)), (1, 2, 0, 3))
    return _dense(x, kernel, strides, dilation)


def _shifted(x, kernel, strides, dilation):
    """Depthwise convolution as the sum of kh * kw shifted products."""
    height, width = ops.shape(x)[1], ops.shape(x)[2]
    x = pad_image(x, _padding(kernel, dilation))
    output = 0.0
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            top, left = row * dilation[0], column * dilation[1]
            window = x[:, top : top + height : strides[0], left : left + width : strides[1]]
            output = output + window * kernel[row, column, 0]
    return output
