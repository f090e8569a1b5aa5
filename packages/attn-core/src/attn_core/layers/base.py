"""What the layers share: argument and shape checks, the data format, the returned map."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from numbers import Integral, Real

import keras
from keras import ops

from attn_core.layers.checks import Checks

_RECORD: ContextVar[list | None] = ContextVar("attention maps being recorded", default=None)


@contextmanager
def recorded_maps() -> Iterator[list[tuple["AttentionLayer", tuple, object]]]:
    """Collect the maps of all layers that are called in this context, however deep in a model.

    Yields:
        A list that fills with (layer, positional arguments of the call, map or tuple of maps).
    """
    record = []
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(token)


class AttentionLayer(Checks, keras.layers.Layer):
    """Base of every layer: checked arguments, configuration, `return_attention_scores`.

    A layer that has an attention map defines `compute_attention_shape`, with the same arguments as
    `compute_output_shape`, and ends its `call` with `return self.result(output, map, flag)`.
    """

    def error(self, message: str, received) -> ValueError:
        """Return the error of this layer; an input that `build` refuses leaves no trace."""
        if not self.built:
            self.input_spec = None
        return super().error(message, received)

    def check_shape(self, input_shape, rank: int, name: str = "the input", axis: int = -1) -> int:
        """Check rank and channel axis of a shape at build; return the number of channels."""
        shape = tuple(input_shape)
        known = [n for n in shape if isinstance(n, (Real, str, list, tuple))]  # no export's symbol
        if not all(isinstance(n, Integral) and n >= 0 for n in known):
            raise self.error(f"the shape of {name} must hold whole numbers or None.", shape)
        if len(shape) != rank:
            expected = {3: "(batch, tokens, channels)", 4: self._image_axes()}[rank]
            raise self.error(f"{name} must have rank {rank}, {expected}.", f"shape {shape}")
        if not shape[axis]:
            raise self.error(
                f"{name} must have a known, positive number of channels on axis {axis % rank}.",
                f"shape {shape}",
            )
        return shape[axis]

    def _image_axes(self) -> str:
        return "(batch, height, width, channels)"

    def check_values(self, args, kwargs) -> None:
        """Check the tensors of a call: backends differ on whole numbers and on empty axes."""
        named = {**dict(zip(_parameters(type(self).call)[1:], args, strict=False)), **kwargs}
        for name in ("x", "query", "key", "value"):
            x = named.get(name)
            if x is None and name in named and name in ("x", "query"):
                raise self.error(f"`{name}` must be a tensor.", f"{name}=None")
            if not hasattr(x, "dtype"):  # Keras says what may be passed instead, and what not
                continue
            if "float" not in str(x.dtype):
                raise self.error(f"`{name}` must hold floating-point numbers.", f"dtype {x.dtype}")
            if 0 in tuple(x.shape)[1:]:
                raise self.error(
                    f"`{name}` must have no axis of length 0 but the batch.",
                    f"shape {tuple(x.shape)}",
                )

    # Attention maps.

    def __call__(self, *args, **kwargs):
        """Call the layer; while `recorded_maps` is open, leave the map there too."""
        self.check_values(args, kwargs)
        record = _RECORD.get()
        asked = kwargs.get("return_attention_scores")
        if record is None or asked or not hasattr(self, "compute_attention_shape"):
            return super().__call__(*args, **kwargs)
        output, attention = super().__call__(*args, **{**kwargs, "return_attention_scores": True})
        record.append((self, args, attention))
        return output

    # Configuration, outputs.

    def get_config(self) -> dict:
        """Return the constructor's arguments, each of which is an attribute of the same name."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        named = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD and p.name != "self"]
        config = {**super().get_config(), **{name: getattr(self, name) for name in named}}
        return {**config, "dtype": keras.dtype_policies.serialize(stored_policy(self))}

    def quantize(self, mode=None, type_check=True, config=None):
        """Refuse: it is `keras.Model.quantize` that quantizes the dense layers inside.

        Args:
            mode: As for `keras.Model.quantize`.
            type_check: Likewise.
            config: Likewise.
        """
        raise NotImplementedError(
            f"{type(self).__name__} {self.name!r}: `quantize` the model that holds the layer; its "
            f"dense layers are quantized, and nothing else. Received: mode={mode!r}"
        )

    def result(self, output, attention, return_attention_scores: bool):
        """Return `output`, with the attention map (or tuple of maps) if that was asked for."""
        output = ops.cast(output, self.compute_dtype)  # Keras' matmul narrows float64 on PyTorch
        return (output, attention) if return_attention_scores else output

    def compute_output_spec(self, *args, return_attention_scores=False, **kwargs):
        """Describe the output, and the attention map if that was asked for."""
        output = super().compute_output_spec(*args, **kwargs)
        if not return_attention_scores:
            return output
        bound = inspect.signature(self.call).bind(*args, **kwargs)
        bound.apply_defaults()
        shapes = [getattr(value, "shape", value) for value in bound.arguments.values()]
        wanted = len(inspect.signature(self.compute_attention_shape).parameters)
        attention = self.compute_attention_shape(*shapes[:wanted])
        if isinstance(attention[0], tuple):
            return output, tuple(self._spec(shape) for shape in attention)
        return output, self._spec(attention)

    def _spec(self, shape) -> keras.KerasTensor:
        return keras.KerasTensor(shape, dtype=self.compute_dtype)


@cache
def _parameters(function) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def stored_policy(layer):
    """Return the dtype policy of a layer or model, and of quantized layers in it, by path."""
    policy, policy_map = layer.dtype_policy, keras.dtype_policies.DTypePolicyMap
    inner = layer._flatten_layers(include_self=False)
    quantized = {one.path: one.dtype_policy for one in inner if one.quantization_mode}
    return policy_map(policy, quantized) if quantized and type(policy) is not policy_map else policy


class ImageLayer(AttentionLayer):
    """Base of the layers on images, `(B, H, W, C)` or `(B, C, H, W)`.

    Mechanisms are written once, channels last: `call` starts with `self.to_channels_last(x)` and
    ends with `self.from_channels_last(output)`. Transposing costs little: XLA and PyTorch fold it
    into the convolutions around it.

    Args:
        data_format: "channels_last" or "channels_first". Default:
            `keras.config.image_data_format()`.
        **kwargs: Keras' own layer arguments (`name`, `dtype`, `trainable`).
    """

    def __init__(self, *, data_format: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = self.choice(
            "data_format",
            keras.config.image_data_format() if data_format is None else data_format,
            ("channels_last", "channels_first"),
        )

    def get_config(self) -> dict:
        """Return the constructor's arguments, `data_format` among them."""
        return {**super().get_config(), "data_format": self.data_format}

    def _image_axes(self) -> str:
        last = self.data_format == "channels_last"
        return "(batch, height, width, channels)" if last else "(batch, channels, height, width)"

    def check_image(self, input_shape, fixed_size: bool = False) -> tuple:
        """Check an image's shape at build; return its channels-last (height, width, channels).

        Args:
            input_shape: The shape that `build` received.
            fixed_size: Whether the layer's weights depend on height and width.
        """
        axis = -1 if self.data_format == "channels_last" else 1
        channels = self.check_shape(input_shape, 4, axis=axis)
        height, width = self.channels_last_shape(input_shape)[1:3]
        if fixed_size and not (height and width):
            raise self.error(
                "height and width must be known and positive: the weights depend on them.",
                f"shape {tuple(input_shape)}",
            )
        axes = {axis: channels}
        if fixed_size:
            axes |= dict(zip((1, 2) if axis == -1 else (2, 3), (height, width), strict=True))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes=axes)
        return height, width, channels

    def channels_last_shape(self, shape) -> tuple:
        """Return an image shape of this layer's data format as channels last."""
        if self.data_format == "channels_last":
            return tuple(shape)
        batch, channels, height, width = shape
        return batch, height, width, channels

    def own_shape(self, shape) -> tuple:
        """Return a channels-last image shape in this layer's data format."""
        if self.data_format == "channels_last":
            return tuple(shape)
        batch, height, width, channels = shape
        return batch, channels, height, width

    def to_channels_last(self, x):
        """Transpose an image of this layer's data format to channels last."""
        return x if self.data_format == "channels_last" else ops.transpose(x, (0, 2, 3, 1))

    def from_channels_last(self, x):
        """Transpose a channels-last image, or a gate's map, to this layer's data format."""
        return x if self.data_format == "channels_last" else ops.transpose(x, (0, 3, 1, 2))

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the input's shape: most layers keep it."""
        return tuple(input_shape)


class TokenLayer(AttentionLayer):
    """Base of the layers on tokens, `(B, N, C)`."""

    def check_tokens(self, shape, name: str = "the input") -> int:
        """Check a token shape at build; return the number of channels."""
        return self.check_shape(shape, 3, name)

    def compute_output_shape(self, input_shape) -> tuple:
        """Return the input's shape: most layers keep it."""
        return tuple(input_shape)


class QueryLayer(TokenLayer):
    """Base of the layers on query `(B, nq, C)`, key `(B, nk, Ck)` and value `(B, nk, Cv)`.

    A layer sets `num_heads`, `output_dim` and, in `build`, `widths`: those of its three inputs.
    """

    def check_inputs(
        self,
        query_shape,
        key_shape=None,
        value_shape=None,
        attention_mask_shape=None,
        attention_weights_shape=None,
    ) -> tuple[int, int, int]:
        """Check the shapes of all inputs, as far as known; return the widths of the first three."""
        key_shape = query_shape if key_shape is None else key_shape
        value_shape = key_shape if value_shape is None else value_shape
        shapes = {"query": query_shape, "key": key_shape, "value": value_shape}
        shapes = {name: tuple(shape) for name, shape in shapes.items()}
        widths = tuple(self.check_tokens(shape, f"`{name}`") for name, shape in shapes.items())
        if self.built and widths != self.widths:
            raise self.error(
                f"`query`, `key` and `value` must have the {self.widths} channels that the layer "
                "was built for.",
                shapes,
            )
        (batch, queries, _), (batch_k, keys, _), (batch_v, keys_v, _) = shapes.values()
        if not (_agree(batch, batch_k) and _agree(batch, batch_v) and _agree(batch_k, batch_v)):
            raise self.error("`query`, `key` and `value` must have one batch size, axis 0.", shapes)
        if not _agree(keys, keys_v):
            raise self.error("`key` and `value` must have as many tokens, axis 1.", shapes)
        scores = (batch, self.num_heads, queries, keys)
        self._check_scores("attention_mask", attention_mask_shape, scores)
        self._check_scores("attention_weights", attention_weights_shape, scores)
        return widths

    def _check_scores(self, name, shape, scores):
        if shape is None:
            return
        batch, pair = scores[0], scores[2:]
        accepted = (pair, (batch, *pair), (batch, 1, *pair), scores)
        if not any(len(shape) == len(one) and all(map(_agree, shape, one)) for one in accepted):
            raise self.error(
                f"`{name}` must have the shape (queries, keys), (batch, queries, keys) or (batch, "
                f"1 or heads, queries, keys), here with (batch, heads, queries, keys) = {scores}.",
                f"shape {tuple(shape)}",
            )

    def compute_output_shape(
        self,
        query_shape,
        key_shape=None,
        value_shape=None,
        attention_mask_shape=None,
        attention_weights_shape=None,
    ) -> tuple:
        """Return the shape of the query, `output_dim` channels wide."""
        width, _, _ = self.check_inputs(
            query_shape, key_shape, value_shape, attention_mask_shape, attention_weights_shape
        )
        return (*query_shape[:-1], self.output_dim or width)


def _agree(one, other) -> bool:
    return one is None or other is None or one == other
