"""An export that reloads what it wrote, runs it, and compares it with the model."""

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from attn_tf import litert

SECONDS = 0.5
"""How long the latency is measured."""


@dataclass(frozen=True)
class ExportReport:
    """What `export` wrote and how it compares with the model.

    Attributes:
        path: What was written: a folder, or a .tflite file.
        format: "saved_model" or "litert".
        quantize: `None`, "dynamic" or "int8".
        shape: Shape of the sample, or of the first of several inputs.
        max_difference: Largest absolute difference between the outputs of the exported model and of
            the model.
        largest_output: Largest absolute output of the model, to compare the difference with.
        size_bytes: Size of the file, or of all files of the folder.
        latency_ms: Median time of one call of the exported model on the sample.
        note: What a user of the exported model should know; may be empty.
    """

    path: Path
    format: str
    quantize: str | None
    shape: tuple[int, ...]
    max_difference: float
    largest_output: float
    size_bytes: int
    latency_ms: float
    note: str = ""

    def __str__(self) -> str:
        """Return the report on one line."""
        kind = f"{self.format}, {self.quantize}" if self.quantize else self.format
        return (
            f"{self.path} ({kind}): largest difference {self.max_difference:.1e} "
            f"of outputs up to {self.largest_output:.1e}, {self.size_bytes / 2**20:.1f} MiB, "
            f"{self.latency_ms:.1f} ms for {self.shape}" + (f"; {self.note}" if self.note else "")
        )


def export(
    model: keras.Model,
    path: str | Path,
    format: str = "saved_model",
    *,
    sample=None,
    quantize: str | None = None,
    representative_data: Iterable | None = None,
    verbose: bool = True,
    **options,
) -> ExportReport:
    """Export a model with Keras' own `export`, reload the result, run it and compare the outputs.

    LiteRT files only contain LiteRT's own operations, so every LiteRT runtime can run them. LiteRT
    has no inverse FFT. Therefore a `GlobalFilter` of this package is exported as matrix products,
    unless its `method` is "fft".

    Args:
        model: A built model.
        path: Where to write: a folder for "saved_model", a .tflite file for "litert".
        format: "saved_model" or "litert".
        sample: The input for the comparison, as the model takes it: an array, or a list or
            dictionary of arrays. Default: the first of `representative_data`, or a batch of one
            with random numbers in the structure and dtypes of the model's inputs.
        quantize: For LiteRT: "dynamic" stores the weights in 8 bits, "int8" also computes in 8
            bits, where LiteRT can; inputs and outputs keep their dtypes.
        representative_data: For "int8": batches of typical inputs, from which the ranges of the
            numbers are measured.
        verbose: Whether to print the report.
        **options: Further arguments of Keras' `export`: `input_signature`, or attributes of the
            LiteRT converter.

    Returns:
        An `ExportReport`.

    Raises:
        ValueError: If an argument is not as described, or LiteRT does not have an operation; the
            error names the operation and its layer.
        ImportError: If `format` is "litert" and LiteRT's runtime is not installed.

    Example:
        >>> import keras, tempfile
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> folder = tempfile.mkdtemp()
        >>> export(model, folder, verbose=False).max_difference < 1e-6
        True
    """
    if format not in ("saved_model", "litert"):
        raise ValueError(
            f'export: `format` must be "saved_model" or "litert". Received: format={format!r}'
        )
    if quantize not in ((None,) if format == "saved_model" else (None, "dynamic", "int8")):
        raise ValueError(
            'export: `quantize` must be None, or with format="litert" "dynamic" or "int8". '
            f"Received: quantize={quantize!r}, format={format!r}"
        )
    given = () if representative_data is None else representative_data
    batches = [_inputs(model, one) for one in given]
    if (quantize == "int8") != bool(batches):
        raise ValueError(
            'export: `representative_data` must hold batches for quantize="int8", and only there. '
            f"Received: quantize={quantize!r}, {len(batches)} batches"
        )
    if sample is None:
        sample = batches[0] if batches else _random_sample(model)
    sample, path, note = _inputs(model, sample), Path(path), ""

    if format == "saved_model":
        model.export(path, format="tf_saved_model", verbose=False, **options)
        reloaded = tf.saved_model.load(path)  # by name: it holds the variables
        artefact = reloaded.serve
    else:
        litert.require()
        litert.write(model, path, {**litert.quantization(quantize, model, batches), **options})
        artefact, note = litert.reload(model, path, sample)

    expected = keras.tree.flatten(_numpy(model(sample, training=False)))
    outputs = keras.tree.flatten(_numpy(artefact(sample)))
    outputs, expected = ([_real(one) for one in several] for several in (outputs, expected))
    differences = [np.abs(ours - theirs) for ours, theirs in zip(outputs, expected, strict=True)]
    report = ExportReport(
        path=path,
        format=format,
        quantize=quantize,
        shape=keras.tree.flatten(sample)[0].shape,
        max_difference=float(np.max([one.max() for one in differences])),
        largest_output=float(np.max([np.abs(one).max() for one in expected])),
        size_bytes=sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file()),
        latency_ms=_median_ms(lambda: keras.tree.map_structure(np.asarray, artefact(sample))),
        note=note,
    )
    if verbose:
        print(report)
    return report


def _real(array):
    """Return numbers whose difference is one too: those of booleans and bytes are not."""
    return array.astype("float64") if array.dtype.kind in "biu" else array


def _numpy(values):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, values)


def _inputs(model, values):
    """Return inputs as arrays of the dtypes that the model takes."""
    values, real = _numpy(values), keras.config.floatx()
    takes = [one.dtype for one in getattr(model, "inputs", None) or []]
    flat = keras.tree.flatten(values)
    if len(takes) != len(flat):
        takes = [real if array.dtype.kind == "f" else array.dtype for array in flat]
    pairs = zip(flat, takes, strict=True)
    return keras.tree.pack_sequence_as(values, [_cast(array, dtype) for array, dtype in pairs])


def _cast(array, dtype):
    """Return an array in another dtype, if that changes no number beyond rounding."""
    if dtype == "string":
        return array
    cast = array.astype(tf.as_dtype(dtype).as_numpy_dtype)
    if cast.dtype.kind in "iub" and not np.array_equal(cast, array):
        raise ValueError(
            f"export: the sample must hold numbers of the model's dtype, {dtype}. "
            f"Received: dtype {array.dtype}, from {array.min()} to {array.max()}"
        )
    return cast


def _random_sample(model):
    """Return random inputs in the structure and dtypes that a model takes."""
    rng = np.random.default_rng(0)
    inputs = getattr(model, "inputs", None) or []
    shapes = [tuple(one.shape[1:]) for one in inputs]
    if not shapes or None in sum(shapes, ()) or any(one.dtype == "string" for one in inputs):
        raise ValueError(
            f"export: give a `sample`: {model.name!r} does not say what it takes. "
            f"Received: inputs of shape {shapes}, {', '.join(str(one.dtype) for one in inputs)}"
        )

    def draw(one):
        shape, dtype = (1, *one.shape[1:]), keras.backend.standardize_dtype(one.dtype)
        if "float" in dtype:
            return rng.standard_normal(shape).astype(tf.as_dtype(dtype).as_numpy_dtype)
        # Small whole numbers: they may be indices of an embedding. Pixels use all of uint8.
        pixels = dtype == "uint8" and len(shape) > 3
        return rng.integers(256 if pixels else 2, size=shape).astype(dtype)

    try:
        structure = model.input
    except AttributeError:  # a Sequential that has not been called yet
        structure = inputs[0] if len(inputs) == 1 else inputs
    return keras.tree.map_structure(draw, structure)


def _median_ms(call) -> float:
    call()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < SECONDS or len(times) < 3:
        tick = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - tick))
    return statistics.median(times)
