"""What XLA's CPU compiler computes slowly unless it is written for it.

Imported on JAX alone; `lowering` says where it is used. A depthwise convolution is a JAX primitive
of its own here, because the gradient that JAX derives from shifted products is slow: it adds padded
images, and sums each product over the positions with one channel at a time. On two CPU cores a 3x3
convolution of 4x128x128x32 with its gradient takes 108 ms that way and 18 ms this way, a 7x7 one of
8x14x14x256 186 and 18 ms. Forward mode, second derivatives and `vmap` work as for any bilinear
operation.
"""

import math
from collections.abc import Callable
from functools import cache, partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from attn_core._typing import Shape

Pair = tuple[int, int]
ERF_NUMERATOR = (
    *(0.00022905065861350646, 0.0034082910107109506, 0.050955695062380861),
    *(0.18520832239976145, 1.128379143519084),
)
ERF_DENOMINATOR = (
    *(-1.1791602954361697e-7, 0.000023547966471313185, 0.0010179625278914885),
    *(0.014070470171167667, 0.11098505178285362, 0.49746925110067538, 1.0),
)


def depthwise(x: jax.Array, kernel: jax.Array, strides: Pair, dilation: Pair) -> jax.Array:
    """Convolve each channel of `(B, H, W, C)` with odd kernels `(kh, kw, 1, C)`, zeros outside."""
    if strides == (1, 1):
        return _unit_steps(x, kernel, dilation)
    return _sum_of_shifts(x, kernel, dilation=dilation, strides=strides)  # its own gradient is fast


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _unit_steps(x: jax.Array, kernel: jax.Array, dilation: Pair) -> jax.Array:
    """Convolve in operations that exporters know; with a gradient, by the primitive."""
    return _sum_of_shifts(x, kernel, dilation=dilation)


def _unit_steps_jvp(dilation: Pair, primals: Any, tangents: Any) -> tuple[jax.Array, Any]:
    (x, kernel), (dx, dkernel) = primals, tangents
    pairs = [(dx, (dx, kernel)), (dkernel, (x, dkernel))]
    terms = [
        _depthwise.bind(*pair, dilation=dilation)
        for tangent, pair in pairs
        if not isinstance(tangent, SymbolicZero)
    ]
    output = _depthwise.bind(x, kernel, dilation=dilation)
    return output, sum(terms[1:], start=terms[0]) if terms else jnp.zeros_like(output)


_unit_steps.defjvp(_unit_steps_jvp, symbolic_zeros=True)


@jax.custom_jvp
def boundary(x: jax.Array) -> jax.Array:
    """Return `x`; its gradient is computed where it is, and not again in every later fusion.

    XLA's CPU compiler fuses the gradient of a residual stream into each block that needs it, so
    that the work grows with the square of the depth. It removes optimization barriers before it
    fuses, but no conditional whose condition is known only at run time.
    """
    return x


boundary.defjvps(lambda tangent, output, x: _boundary.bind(tangent))


def _unfused(gradient: jax.Array) -> jax.Array:
    if 0 in gradient.shape:
        return gradient
    first = gradient[(0,) * gradient.ndim].astype("float32")
    # True: the bits are those of a NaN that no operation makes.
    condition = jax.lax.bitcast_convert_type(first, "int32") != 0x7FC0A77E
    return jax.lax.cond(condition, lambda x: x, jnp.negative, gradient)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def maximum(x: jax.Array, axis: int | tuple[int, ...], keepdims: bool) -> jax.Array:
    """Return the maximum over `axis`.

    JAX divides the gradient by the number of entries that equal the maximum. XLA may compute the
    entries a second time for that, and round them differently: none is equal then, and the gradient
    is NaN. Entries within some roundings of the maximum count as equal here.
    """
    return jnp.max(x, axis, keepdims=keepdims)


@maximum.defjvp
def _maximum_jvp(
    axis: int | tuple[int, ...], keepdims: bool, primals: Any, tangents: Any
) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    largest = jnp.max(x, axis, keepdims=True)
    near = x >= largest - 8 * jnp.finfo(x.dtype).eps * jnp.abs(largest)
    shares = near / jnp.maximum(jnp.sum(near, axis, keepdims=True, dtype=x.dtype), 1)
    output = largest if keepdims else jnp.squeeze(largest, axis)
    return output, jnp.sum(tangent * shares.astype(x.dtype), axis, keepdims=keepdims)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def softmax(x: jax.Array, axis: int | tuple[int, ...]) -> jax.Array:
    """Return the softmax over `axis`.

    Its gradient needs the result alone. The one that JAX derives divides by the squares of the
    sums, which XLA repeats to an array of the size of the scores. On two CPU cores a training step
    of attention with 8 heads over 8x196x256 takes 20.7 ms that way and 13.8 ms this way, of
    simplified attention 14.4 and 8.0 ms, of relative attention 26.2 and 18.9 ms.
    """
    return jax.nn.softmax(x, axis)


@softmax.defjvp
def _softmax_jvp(
    axis: int | tuple[int, ...], primals: Any, tangents: Any
) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    output = softmax(x, axis)
    return output, output * (tangent - jnp.sum(output * tangent, axis, keepdims=True))


@jax.custom_jvp
def erf(x: jax.Array) -> jax.Array:
    """Return erf of float32 numbers by the rational function that XLA takes for it.

    JAX's own erf is an operation that a SavedModel cannot hold: TensorFlow 2.21 does not read it.
    """
    x = jnp.clip(x, -3.832506856900711, 3.832506856900711)  # beyond, it is -1 or 1
    return x * _polynomial(ERF_NUMERATOR, x * x) / _polynomial(ERF_DENOMINATOR, x * x)


def _polynomial(coefficients: tuple[float, ...], x: jax.Array) -> Any:
    """Evaluate a polynomial, the highest power first."""
    return reduce(lambda value, coefficient: value * x + coefficient, coefficients)


@erf.defjvp
def _erf_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    return erf(x), tangent * (2 / math.sqrt(math.pi)) * jnp.exp(-x * x)


def _sum_of_shifts(
    x: jax.Array, kernel: jax.Array, *, dilation: Pair, strides: Pair = (1, 1)
) -> jax.Array:
    """Convolve as the sum of kh * kw shifted products."""
    height, width = x.shape[1:3]
    x = _pad(x, kernel.shape[:2], dilation)
    output: Any = 0.0
    for row in range(kernel.shape[0]):
        for column in range(kernel.shape[1]):
            top, left = row * dilation[0], column * dilation[1]
            window = x[:, top : top + height : strides[0], left : left + width : strides[1]]
            output = output + window * kernel[row, column, 0]
    return output


@jax.custom_jvp
def one_filter(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve `(B, H, W, C)` with an odd kernel `(kh, kw, C, 1)`, C small, zeros outside.

    One pass over the output adds all shifted products. Their gradient would be as many passes:
    there, the convolution is a matrix product and a sum of shifts. On two CPU cores 7x7 of
    8x112x112x2 takes 0.6 ms, as a product 1.1 ms; with the gradient 20 and 2.4 ms.
    """
    (rows, columns, channels, _), (height, width), dtype = kernel.shape, x.shape[1:3], x.dtype
    precise = jnp.promote_types(dtype, "float32")
    x, kernel = _pad(x, (rows, columns), (1, 1)).astype(precise), kernel.astype(precise)
    planes = [x[..., channel] for channel in range(channels)]
    output: Any = 0.0
    for top, left, channel in np.ndindex(rows, columns, channels):
        window = planes[channel][:, top : top + height, left : left + width]
        output = output + window * kernel[top, left, channel, 0]
    return output[..., None].astype(dtype)


@one_filter.defjvp
def _one_filter_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return jax.jvp(_one_filter_by_products, primals, tangents)


def _one_filter_by_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
    (rows, columns, channels, _), (height, width) = kernel.shape, x.shape[1:3]
    x = _pad(x, (rows, columns), (1, 1))
    x = jnp.concatenate([x[:, :, left : left + width] for left in range(columns)], axis=-1)
    x = x @ kernel.reshape(rows, columns * channels).T  # (B, H + rows - 1, W, rows)
    terms = [x[:, top : top + height, :, top : top + 1] for top in range(rows)]
    return sum(terms[1:], start=terms[0])


def _sum_of_products(x: jax.Array, gradient: jax.Array, *, size: Pair, dilation: Pair) -> jax.Array:
    """Return the gradient of the kernels: sums over the positions of shifted `x` * `gradient`.

    One row of one image after the other is added, so that the sums stay in the cache.
    """
    (batch, height, width, channels), dtype = gradient.shape, gradient.dtype
    precise = jnp.promote_types(dtype, "float32")
    x = _pad(x, size, dilation)
    taps = [
        (row * dilation[0], column * dilation[1])
        for row in range(size[0])
        for column in range(size[1])
    ]

    def add_row(number: jax.Array, sums: list[jax.Array]) -> list[jax.Array]:
        image, row = number // height, number % height
        rows = jax.lax.dynamic_slice(
            x, (image, row, 0, 0), (1, x.shape[1] - height + 1, *x.shape[2:])
        )[0].astype(precise)
        one = jax.lax.dynamic_slice(gradient, (image, row, 0, 0), (1, 1, width, channels))
        one = one[0, 0].astype(precise)
        return [
            total + rows[top, left : left + width] * one
            for total, (top, left) in zip(sums, taps, strict=True)
        ]

    sums = [jnp.zeros((width, channels), precise) for _ in taps]
    sums = jax.lax.fori_loop(0, batch * height, add_row, sums)
    return jnp.stack(sums).sum(1).reshape((*size, 1, channels)).astype(dtype)


def _pad(x: jax.Array, size: Shape, dilation: Pair) -> jax.Array:
    rows, columns = (d * (length // 2) for d, length in zip(dilation, size, strict=True))
    return jnp.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))


def _bilinear(name: str, compute: Callable, by_first: Callable, by_second: Callable) -> Primitive:
    """Return the primitive of a function of two arrays that is linear in each of them.

    `by_first` and `by_second` take the gradient of the result and both arrays, of which one is not
    known but for its shape, and return the gradient of one of them.
    """

    def shape_of(*arrays: Any, **options: Any) -> jax.core.ShapedArray:
        result = jax.eval_shape(partial(compute, **options), *arrays)
        return jax.core.ShapedArray(result.shape, result.dtype)

    @cache
    def compiled(**options: Any) -> Callable:
        return jax.jit(partial(compute, **options))

    def batched(arrays: Any, axes: Any, **options: Any) -> tuple[jax.Array, int]:
        return jax.vmap(partial(compute, **options), axes)(*arrays), 0

    primitive = Primitive(f"attn_core_{name}")
    primitive.def_impl(lambda *arrays, **options: compiled(**options)(*arrays))
    primitive.def_abstract_eval(shape_of)
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=False))
    ad.defbilinear(primitive, by_first, by_second)
    batching.primitive_batchers[primitive] = batched
    return primitive


_boundary = Primitive("attn_core_boundary")
_boundary.def_impl(lambda x: x)
_boundary.def_abstract_eval(lambda x: x)
mlir.register_lowering(_boundary, lambda context, x: [x])
ad.deflinear2(_boundary, lambda gradient, x: [_unfused(gradient)])
batching.primitive_batchers[_boundary] = lambda arrays, axes: (_boundary.bind(*arrays), axes[0])


def _flip(kernel: jax.Array) -> jax.Array:
    return kernel[::-1, ::-1]


_depthwise = _bilinear(
    "depthwise",
    _sum_of_shifts,
    lambda gradient, x, kernel, **o: _depthwise.bind(gradient, _flip(kernel), **o),
    lambda gradient, x, kernel, **o: _products.bind(x, gradient, size=kernel.aval.shape[:2], **o),
)
_products = _bilinear(
    "depthwise_products",
    _sum_of_products,
    lambda gradient, x, other, size, **o: _depthwise.bind(other, _flip(gradient), **o),
    lambda gradient, x, other, size, **o: _depthwise.bind(x, gradient, **o),
)
