"""What the layers share: argument and shape checks, the data format, the returned map."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self, Unpack

import keras
from keras import ops

from attn_core import _checks as checks
from attn_core._ops.attention import Padding
from attn_core._ops.masking import both
from attn_core._ops.precision import cast
from attn_core._typing import KerasArguments, LayerArguments, Shape, Tensor
from attn_core.layers._children import KERNELS
from attn_core.layers._configuration import Configured, declared, parameters
from attn_core.layers._maps import Map
from attn_core.layers._sublayer import taken_as_it_is
from attn_core.layers._trainable import set_trainable_flags, trainable_flags

Split = Literal["outputs", "inputs", "heads", "head inputs", "whole"]
"""How devices share the kernel of a layer: by its outputs, by its inputs, by heads, or not at all.

- "outputs": what it gives is split. This is so where nothing else is declared.
- "inputs": it takes what a layer before it gave, which is split by its outputs.
- "heads": its outputs are the heads of an attention: each device gets whole heads.
- "head inputs": its inputs are the heads.
- "whole": every device has all of it.
"""

ANY_SPACE = (1, 2, 3)
"""The `spatial_axes` of a layer to which only the set of positions matters, or the same along each
axis: it takes signals, images and volumes."""

KERAS = frozenset((*parameters(keras.layers.Layer.__init__), "input_dim", "input_shape"))
"""The arguments that Keras takes for any layer, of which the last two are old ones."""

TOKENS = {3: "(batch, tokens, channels)"}
"""The axes of the one input of layers on tokens, by its rank."""


class Record(list[tuple["AttentionLayer", Mapping[str, Any], Any]]):
    """The maps of the layers that were called: (layer, arguments of the call, map or maps).

    Attributes:
        inside: The layers whose calls are being recorded, the innermost last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[AttentionLayer] = []

    def has(self, layer: "AttentionLayer", given: Mapping[str, Any]) -> bool:
        """Return whether a layer whose call is being recorded returns this call's maps.

        It is the layer itself if it calls `super().call`, or one made of layers whose maps it asks.
        """
        asked = given.get("return_attention_scores")
        return bool(self.inside) and (self.inside[-1] is layer or bool(asked))


_RECORD: ContextVar[Record | None] = ContextVar("attention maps being recorded", default=None)


@contextmanager
def recorded_maps() -> Iterator[Record]:
    """Collect the maps of all layers that are called in this context, however deep in a model.

    Yields:
        A list that fills with (layer, arguments of the call by name, map or tuple of maps).
    """
    record = Record()
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(token)


def _watched(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the `call` of a class with a check of its inputs, and with its maps recorded.

    Both are here because wrappers such as `TimeDistributed` go around `__call__`.
    """
    names = tuple(inspect.signature(call).parameters)[1:]
    asking = "return_attention_scores"

    @wraps(call)
    def watched(self: "AttentionLayer", *args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        self._check_values(given)
        record = _RECORD.get()
        if record is None or not self.maps or asking not in names or record.has(self, given):
            return call(self, *args, **kwargs)
        record.inside.append(self)
        try:
            output, attention = call(self, **{**given, asking: True})
        finally:
            record.inside.pop()
        record.append((self, given, attention))
        return (output, attention) if given.get(asking) else output

    return watched


def _flagged(build: Callable[..., None]) -> Callable[..., None]:
    """Return the `build` of a class that ends with freezing what the configuration says."""

    @wraps(build)
    def flagged(self: "AttentionLayer", *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        set_trainable_flags(self, dict(self._flags))

    return flagged


class AttentionLayer(Configured, keras.layers.Layer):
    """Base of every layer: its configuration, its attention maps, checks of what it is given.

    A layer that has attention maps declares them in `maps`, defines `compute_attention_shape`, and
    ends its `call` with `return self.result(output, map, return_attention_scores)`.
    """

    maps: ClassVar[tuple[Map, ...]] = ()
    """The attention maps that the layer returns, in the order in which they act; if it returns
    more, they are as the last one."""

    split: ClassVar[Mapping[str, Split]] = {}
    """How devices share the kernel of a child, by its name, where not by its outputs."""

    spatial_axes: tuple[int, ...] = ()
    """How many axes of positions an input may have: 1 for tokens or a signal, 2 for an image, 3 for
    a volume. A layer whose arguments allow less than its class has an attribute of its own."""

    follows: ClassVar[Mapping[str, str]] = {}
    """From a child that treats each channel by itself to the child whose outputs it takes: the two
    are split together. `x_norm` follows `x` without being named here."""

    _built_spec: Any = None
    _call_names: ClassVar[tuple[str, ...]] = ()
    _takes_any: ClassVar[bool] = False
    _flags: tuple[tuple[str, bool], ...] = ()
    """The `trainable` flags of layers inside, from the configuration, for `build`."""

    def __init__(self, *, kernel_regularizer: Any = None, **kwargs: Unpack[KerasArguments]) -> None:
        for name, value in kwargs.items():
            if name not in KERAS:  # Keras would not say which arguments there are
                known = (*declared(type(self)), *KerasArguments.__annotations__)
                message = f"there is no argument `{name}`; {checks.nearest(name, known)}"
                raise checks.error(self, message, f"{name}={value!r}")
        super().__init__(**kwargs)
        self.kernel_regularizer: keras.regularizers.Regularizer | None = checks.regularizer(
            self, "kernel_regularizer", kernel_regularizer
        )

    def __init_subclass__(cls, **options: Any) -> None:
        """Put the checks and the record of maps around the `call` of the subclass."""
        super().__init_subclass__(**options)
        if "call" in vars(cls):
            parameters = inspect.signature(cls.call).parameters
            cls._call_names = tuple(parameters)[1:]
            cls._takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
            cls.call = _watched(cls.call)  # type: ignore[method-assign]
        if "build" in vars(cls):
            cls.build = _flagged(cls.build)  # type: ignore[method-assign]

    @property
    def input_spec(self) -> Any:
        """What Keras checks of each input: as `build` left it, if `build` went through."""
        use_built = self.built and self._built_spec is not None
        return self._built_spec if use_built else self._input_spec

    @input_spec.setter
    def input_spec(self, value: Any) -> None:
        self._input_spec = self._built_spec = value

    def _expect(self, **spec: Any) -> None:
        """Let the built layer take inputs of a `keras.layers.InputSpec` alone."""
        self._built_spec = keras.layers.InputSpec(**spec)

    def _check_shape(
        self,
        input_shape: Shape,
        accepted: Mapping[int, str] = TOKENS,
        name: str = "the input",
        axis: int = -1,
    ) -> int:
        """Check rank and channel axis of a shape at build; return the number of channels.

        The ranks that are accepted come with the names of their axes.
        """
        shape = tuple(input_shape)
        known = [n for n in shape if isinstance(n, (Real, str, list, tuple))]  # no export's symbol
        if not all(isinstance(n, Integral) and n >= 0 for n in known):
            raise checks.error(self, f"the shape of {name} must hold whole numbers or None.", shape)
        rank = len(shape)
        if rank not in accepted:
            expected = ", or ".join(f"{known}, {axes}" for known, axes in accepted.items())
            message = f"{name} must have rank {expected}.{self._cure(rank)}"
            raise checks.error(self, message, f"shape {shape}")
        if not shape[axis]:
            raise checks.error(
                self,
                f"{name} must have a known, positive number of channels on axis {axis % rank}.",
                f"shape {shape}",
            )
        return shape[axis]

    def _cure(self, rank: int) -> str:
        """Return how an input of another rank could be passed, as the end of an error's message."""
        return ""

    def _check_values(self, named: Mapping[str, Any]) -> None:
        """Check the tensors of a call: backends differ on whole numbers and on empty axes."""
        for name in ("x", "query", "key", "value"):
            x = named.get(name)
            if x is None and name in named and name in ("x", "query"):
                raise checks.error(self, f"`{name}` must be a tensor.", f"{name}=None")
            if isinstance(x, (list, tuple, dict)):
                several = "layer(query, key, value), if there are several; numbers as an array."
                raise checks.error(
                    self,
                    f"`{name}` must be one tensor: pass tensors one by one, {several}",
                    f"a {type(x).__name__} of length {len(x)}",
                )
            if not hasattr(x, "dtype"):  # Keras says what may be passed instead, and what not
                continue
            if "float" not in str(x.dtype):
                raise checks.error(
                    self, f"`{name}` must hold floating-point numbers.", f"dtype {x.dtype}"
                )
            if 0 in tuple(x.shape)[1:]:
                raise checks.error(
                    self,
                    f"`{name}` must have no axis of length 0 but the batch.",
                    f"shape {tuple(x.shape)}",
                )
        for name, mask in named.items():
            if name.endswith("mask") and isinstance(mask, (list, tuple)):
                message = f"`{name}` must be an array or a tensor."
                raise checks.error(self, message, f"a {type(mask).__name__} of length {len(mask)}")

    def add_weight(self, *args: Any, **options: Any) -> keras.Variable:
        """Create a weight; a kernel gets the layer's regularizer."""
        if options.get("name") in KERNELS:
            options.setdefault("regularizer", self.kernel_regularizer)
        return super().add_weight(*args, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer; nothing is built for inputs that `call` would refuse."""
        if self._is_direct(args, kwargs):
            return self.call(*args, **kwargs)
        for name in () if self._takes_any else kwargs:
            if name not in (*self._call_names, "training"):  # Keras would not name the layer
                raise TypeError(
                    f"{type(self).__name__} {self.name!r}: a call has no argument `{name}`. It "
                    f"takes {', '.join(self._call_names)}."
                )
        self._check_values({**dict(zip(self._call_names, args, strict=False)), **kwargs})
        return super().__call__(*args, **kwargs)

    def _is_direct(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Return whether all that Keras would do around the `call` is to pass one input on."""
        x = args[0] if len(args) == 1 else None
        if not taken_as_it_is(self, x) or getattr(x, "_keras_mask", None) is not None:
            return False
        if not all(
            isinstance(value, bool) and name in self._call_names for name, value in kwargs.items()
        ):
            return False
        if "training" in self._call_names and "training" not in kwargs:
            return False  # Keras knows what the layers around are doing
        spec = self.input_spec
        fits = spec is None or (
            len(x.shape) == spec.ndim
            and all(x.shape[axis] == length for axis, length in spec.axes.items())
        )
        return fits and self.activity_regularizer is None

    # Configuration, outputs.

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, each of which is an attribute of the same name.

        Once the layer is built, also the layers inside that are frozen if only some of them are.
        A subclass whose constructor passes `*args` or `**kwargs` on has the arguments of the
        classes above it that were given; what it fixes itself, its constructor fixes again.
        """
        own = {name: getattr(self, name) for name in self._argument_names()}
        config = {**super().get_config(), **own}
        if "kernel_regularizer" in config:
            regularizer = config["kernel_regularizer"]
            config["kernel_regularizer"] = keras.regularizers.serialize(regularizer)
        if flags := trainable_flags(self) if self.built else dict(self._flags):
            config["trainable_layers"] = flags
        return {**config, "dtype": keras.dtype_policies.serialize(stored_policy(self))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *args: Any) -> Self:
        """Return the layer that a configuration describes, and freeze the same layers inside."""
        own = dict(config)
        flags = own.pop("trainable_layers", {})
        layer = super().from_config(own, *args)
        layer._flags = tuple(flags.items())
        return layer

    def quantize(self, mode: Any = None, type_check: bool = True, config: Any = None) -> None:
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

    def result(
        self, output: Tensor, attention: Any, return_attention_scores: bool
    ) -> Tensor | tuple[Tensor, Any]:
        """Return `output`, with the attention map (or tuple of maps) if that was asked for."""
        output = cast(output, self.compute_dtype)  # Keras' matmul narrows float64 on PyTorch
        return (output, attention) if return_attention_scores else output

    def compute_attention_shape(self, *shapes: Any, **arguments: Any) -> Any:
        """Return the shape of the attention map, or a tuple of shapes where there are several.

        It takes the arguments of `compute_output_shape`.
        """
        raise checks.error(self, "this layer has no attention map.", f"shapes {shapes}")

    def compute_output_spec(
        self, *args: Any, return_attention_scores: bool = False, **kwargs: Any
    ) -> Any:
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

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the padding mask of the output: that of the input, if the layer uses it.

        Args:
            inputs: The first argument of the call.
            previous_mask: Its padding mask.
        """
        masked = any(mask is not None for mask in keras.tree.flatten(previous_mask))
        if masked and "mask" not in self._call_names:
            raise checks.error(
                self,
                "this layer takes no padding mask, and padding would leak into its output. If it "
                "may, drop the mask first: `x = keras.ops.copy(x)`.",
                f"an input of shape {tuple(inputs.shape)} with a mask",
            )
        return previous_mask

    def _spec(self, shape: Shape) -> keras.KerasTensor:
        return keras.KerasTensor(shape, dtype=self.compute_dtype)


def stored_policy(layer: keras.layers.Layer) -> keras.DTypePolicy:
    """Return the dtype policy of a layer or model, and of quantized layers in it, by path."""
    policy, policy_map = layer.dtype_policy, keras.dtype_policies.DTypePolicyMap
    inner = layer._flatten_layers(include_self=False)
    quantized = {one.path: one.dtype_policy for one in inner if one.quantization_mode}
    return policy_map(policy, quantized) if quantized and type(policy) is not policy_map else policy


class ImageLayer(AttentionLayer):
    """Base of the layers on images, `(B, H, W, C)` or `(B, C, H, W)`.

    Some take signals, `(B, T, C)`, and volumes, `(B, D, H, W, C)`, too: they declare it in
    `spatial_axes`, and their `build` starts with `check_channels` in place of `check_image`.

    Mechanisms are written once, channels last: `call` starts with `self.to_channels_last(x)` and
    ends with `self.from_channels_last(output)`. Transposing costs little: XLA and PyTorch fold it
    into the convolutions around it.

    Args:
        data_format: "channels_last" or "channels_first". Default:
            `keras.config.image_data_format()`.
        **kwargs: Keras' own layer arguments (`name`, `dtype`, `trainable`), and
            `kernel_regularizer`, the regularizer of every kernel in the layer: an object or a name
            of `keras.regularizers`. Biases, norms and position tables are left out.
    """

    spatial_axes = (2,)

    one_column: ClassVar[bool] = True
    """Whether the layer takes an image of one column, as which a signal could be passed."""

    def __init__(self, *, data_format: str | None = None, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self._format_is_fixed = data_format is not None and "data_format" not in self._given
        self.data_format: str = checks.choice(
            self,
            "data_format",
            keras.config.image_data_format() if data_format is None else data_format,
            ("channels_last", "channels_first"),
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, `data_format` too: Keras' default may be another."""
        config = super().get_config()
        if not self._format_is_fixed:  # by a subclass, whose constructor fixes it again
            config["data_format"] = self.data_format
        return config

    def _accepted(self) -> dict[int, str]:
        """Return the names of the axes of the inputs that the layer takes, by rank."""
        names = {1: ("steps",), 2: ("height", "width"), 3: ("depth", "height", "width")}
        shapes = (("batch", *names[axes], "channels") for axes in self.spatial_axes)
        if self.data_format == "channels_first":
            shapes = ((batch, last, *size) for batch, *size, last in shapes)
        return {len(shape): f"({', '.join(shape)})" for shape in shapes}

    def _cure(self, rank: int) -> str:
        if rank not in (3, 5):
            return ""
        narrowed = self.spatial_axes != type(self).spatial_axes
        cure = f" {'With these arguments the' if narrowed else 'The'} layer is for images"
        if rank == 3 and self.one_column:
            axis = 2 if self.data_format == "channels_last" else 3
            cure += f"; a signal is one of one column after `keras.ops.expand_dims(x, {axis})`"
        elif rank == 5 and self.data_format == "channels_last":
            cure += "; `keras.layers.TimeDistributed` applies it to the slices of a volume"
        return f"{cure}."

    def check_channels(self, input_shape: Shape, fixed_size: bool = False) -> int:
        """Check the input's shape at build; return the number of channels.

        Args:
            input_shape: The shape that `build` received.
            fixed_size: Whether the layer's weights depend on the lengths of the spatial axes.
        """
        axis = -1 if self.data_format == "channels_last" else 1
        channels = self._check_shape(input_shape, self._accepted(), axis=axis)
        rank = len(input_shape)
        spatial = range(1, rank - 1) if axis == -1 else range(2, rank)
        if fixed_size and not all(input_shape[one] for one in spatial):
            size = {3: "the number of steps", 4: "height and width", 5: "depth, height and width"}
            message = f"{size[rank]} must be known and positive: the weights depend on the size."
            raise checks.error(self, message, f"shape {tuple(input_shape)}")
        fixed = {one: input_shape[one] for one in spatial} if fixed_size else {}
        self._expect(ndim=rank, axes={axis: channels, **fixed})
        return channels

    def check_image(
        self, input_shape: Shape, fixed_size: bool = False
    ) -> tuple[int | None, int | None, int]:
        """Check an image's shape at build; return its channels-last (height, width, channels).

        Args:
            input_shape: The shape that `build` received.
            fixed_size: Whether the layer's weights depend on height and width.
        """
        channels = self.check_channels(input_shape, fixed_size)
        height, width = self.channels_last_shape(input_shape)[1:3]
        return height, width, channels

    def check_multiples(self, height: int | None, width: int | None, argument: str) -> None:
        """Check that height and width, where they are known, are multiples of an argument."""
        for what, length in (("the height", height), ("the width", width)):
            if length is not None:
                checks.divisible(self, what, length, argument, getattr(self, argument))

    def channels_last_shape(self, shape: Shape) -> Shape:
        """Return a shape of this layer's data format as channels last."""
        if self.data_format == "channels_last":
            return tuple(shape)
        batch, channels, *size = shape
        return batch, *size, channels

    def from_channels_last_shape(self, shape: Shape) -> Shape:
        """Return a channels-last shape in this layer's data format."""
        if self.data_format == "channels_last":
            return tuple(shape)
        batch, *size, channels = shape
        return batch, channels, *size

    def channel_gate_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of a gate of one weight for each channel."""
        batch, *size, channels = self.channels_last_shape(input_shape)
        return self.from_channels_last_shape((batch, *(1 for _ in size), channels))

    def position_gate_shape(self, input_shape: Shape, maps: int = 1) -> Shape:
        """Return the shape of a gate of one weight, or one for each map, for each position."""
        return self.from_channels_last_shape((*self.channels_last_shape(input_shape)[:-1], maps))

    def to_channels_last(self, x: Tensor) -> Tensor:
        """Transpose an input of this layer's data format to channels last."""
        if self.data_format == "channels_last":
            return x
        return ops.transpose(x, (0, *range(2, len(x.shape)), 1))

    def from_channels_last(self, x: Tensor) -> Tensor:
        """Transpose a channels-last output, or a gate's map, to this layer's data format."""
        if self.data_format == "channels_last":
            return x
        last = len(x.shape) - 1
        return ops.transpose(x, (0, last, *range(1, last)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape: most layers keep it."""
        return tuple(input_shape)


class TokenLayer(AttentionLayer):
    """Base of the layers on tokens, `(B, N, C)`."""

    spatial_axes = (1,)

    def _cure(self, rank: int) -> str:
        if rank < 4:
            return ""
        return (
            " Positions become tokens, channels last, by `keras.layers.Reshape((-1, channels))`; "
            "`insert_attention` does so."
        )

    def _check_tokens(self, input_shape: Shape) -> int:
        """Check the shape of tokens at build; return the number of channels."""
        channels = self._check_shape(input_shape)
        self._expect(ndim=3, axes={-1: channels})
        return channels

    def _check_mask(self, name: str, mask: Tensor | None, x: Tensor) -> None:
        """Check that a padding mask has the shape of the tokens."""
        expected, given = tuple(x.shape)[:-1], () if mask is None else tuple(mask.shape)
        if given and not (len(given) == len(expected) and all(map(_agree, given, expected))):
            axes = "(batch, tokens)" if len(expected) == 2 else "of the input without channels"
            raise checks.error(
                self, f"`{name}` must have the shape {axes}, here {expected}.", f"shape {given}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape: most layers keep it."""
        return tuple(input_shape)


class QueryLayer(TokenLayer):
    """Base of the layers on query `(B, nq, C)`, key `(B, nk, Ck)` and value `(B, nk, Cv)`.

    A layer sets `num_heads` and `output_dim`. Its `build` starts with `_build_inputs`, its `call`
    with `_padding` and `_complete`.
    """

    num_heads: int
    output_dim: int | None
    _widths: tuple[int, int, int]

    def _build_inputs(self, *shapes: Shape | None) -> tuple[int, int, int]:
        """Check the shapes of all inputs at build; return the widths of query, key and value."""
        self._widths = self._check_inputs(*shapes)
        self._expect(ndim=3, axes={-1: self._widths[0]})
        return self._widths

    def _complete(
        self, query: Tensor, key: Tensor | None, value: Tensor | None, *scores: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value, where the latter two default to the one before."""
        key = query if key is None else key
        value = key if value is None else value
        inputs = (query, key, value, *scores)
        self._check_inputs(*(None if x is None else x.shape for x in inputs))
        return query, key, value

    def _padding(
        self,
        inputs: tuple[Tensor, Tensor | None, Tensor | None],
        mask: Tensor | None,
        query_mask: Tensor | None,
        key_mask: Tensor | None,
        value_mask: Tensor | None,
    ) -> Padding:
        """Return which queries and which keys are tokens; a key that is the query has its mask."""
        query, key, value = inputs
        query_mask = mask if query_mask is None else query_mask
        if key is None and key_mask is None:
            key_mask = query_mask
        key = query if key is None else key
        self._check_mask("query_mask", query_mask, query)
        self._check_mask("key_mask", key_mask, key)
        self._check_mask("value_mask", value_mask, key if value is None else value)
        return Padding(query_mask, both(key_mask, value_mask))

    def _check_inputs(
        self,
        query_shape: Shape,
        key_shape: Shape | None = None,
        value_shape: Shape | None = None,
        attention_mask_shape: Shape | None = None,
        attention_weights_shape: Shape | None = None,
    ) -> tuple[int, int, int]:
        """Check the shapes of all inputs, as far as known; return the widths of the first three."""
        key_shape = query_shape if key_shape is None else key_shape
        value_shape = key_shape if value_shape is None else value_shape
        shapes = {"query": query_shape, "key": key_shape, "value": value_shape}
        shapes = {name: tuple(shape) for name, shape in shapes.items()}
        widths = tuple(self._check_shape(shape, name=f"`{name}`") for name, shape in shapes.items())
        if self.built and widths != self._widths:
            raise checks.error(
                self,
                f"`query`, `key` and `value` must have the {self._widths} channels that the layer "
                "was built for.",
                shapes,
            )
        (batch, queries, _), (batch_k, keys, _), (batch_v, keys_v, _) = shapes.values()
        if not (_agree(batch, batch_k) and _agree(batch, batch_v) and _agree(batch_k, batch_v)):
            raise checks.error(
                self, "`query`, `key` and `value` must have one batch size, axis 0.", shapes
            )
        if not _agree(keys, keys_v):
            raise checks.error(self, "`key` and `value` must have as many tokens, axis 1.", shapes)
        scores = (batch, self.num_heads, queries, keys)
        self._check_scores("attention_mask", attention_mask_shape, scores)
        self._check_scores("attention_weights", attention_weights_shape, scores)
        return widths

    def _check_equal_lengths(self, query_shape: Shape, key_shape: Shape | None) -> None:
        """Check that there are as many keys as queries, as far as known."""
        if key_shape is not None and not _agree(query_shape[1], key_shape[1]):
            raise checks.error(
                self,
                "`query` and `key` must have as many tokens, axis 1.",
                {"query": tuple(query_shape), "key": tuple(key_shape)},
            )

    def _check_scores(self, name: str, shape: Shape | None, scores: Shape) -> None:
        if shape is None:
            return
        batch, pair = scores[0], scores[2:]
        accepted = (pair, (batch, *pair), scores)
        if not any(len(shape) == len(one) and _broadcasts(shape, one) for one in accepted):
            raise checks.error(
                self,
                f"`{name}` must have the shape (queries, keys), (batch, queries, keys) or (batch, "
                f"heads, queries, keys), here with (batch, heads, queries, keys) = {scores}; any "
                "axis may be 1. A mask of padding, (batch, keys), is passed as `key_mask`.",
                f"shape {tuple(shape)}",
            )

    def compute_output_shape(
        self,
        query_shape: Shape,
        key_shape: Shape | None = None,
        value_shape: Shape | None = None,
        attention_mask_shape: Shape | None = None,
        attention_weights_shape: Shape | None = None,
    ) -> Shape:
        """Return the shape of the query, `output_dim` channels wide."""
        width, _, _ = self._check_inputs(
            query_shape, key_shape, value_shape, attention_mask_shape, attention_weights_shape
        )
        return (*query_shape[:-1], self.output_dim or width)

    def compute_attention_shape(self, query_shape: Shape, key_shape: Shape | None = None) -> Shape:
        """Return the shape of the attention map, `(B, num_heads, nq, nk)`."""
        if not self.maps:
            return super().compute_attention_shape(query_shape, key_shape)
        keys = query_shape[1] if key_shape is None else key_shape[1]
        return query_shape[0], self.num_heads, query_shape[1], keys


def _agree(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other


def _broadcasts(shape: Shape, onto: Shape) -> bool:
    return all(n == 1 or _agree(n, m) for n, m in zip(shape, onto, strict=True))


def positions(*size: int | None) -> int | None:
    """Return the number of positions of a size, `None` where it is not known yet."""
    known = [length for length in size if length]
    return math.prod(known) if len(known) == len(size) else None
