"""Export that reloads what it wrote, runs it, and compares it with the model."""

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
        path: The artefact: a folder, or a .tflite file.
        format: "saved_model" or "litert".
        quantize: `None`, "dynamic" or "int8".
        shape: Shape of the sample, or of the first of several inputs.
        max_difference: Largest absolute difference of the outputs of artefact and model.
        largest_output: Largest absolute output of the model, which gives that its scale.
        size_bytes: Size of the file, or of all files of the folder.
        latency_ms: Median time of one call of the artefact on the sample.
        note: What a user of the artefact should know, or nothing.
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
    """Export a model by Keras' own `export`, reload the artefact, run it, compare.

    LiteRT artefacts hold LiteRT's own operations alone, so that every LiteRT runtime takes them.
    It has no inverse FFT: a `GlobalFilter` of this package is exported as matrix products there,
    unless its `method` is "fft".

    Args:
        model: A built model.
        path: Where to write: a folder for "saved_model", a .tflite file for "litert".
        format: "saved_model" or "litert".
        sample: Input to compare on, as the model takes it. Default: the first of
            `representative_data`, or random numbers, a batch of one.
        quantize: For LiteRT: "dynamic" stores the weights in 8 bits, "int8" computes in 8 bits too,
            where LiteRT can, with inputs and outputs in float32.
        representative_data: For "int8": batches of typical inputs, which give the ranges.
        verbose: Whether to print the report.
        **options: To Keras' export: `input_signature`, or attributes of the LiteRT converter.

    Returns:
        An `ExportReport`.

    Raises:
        ValueError: If an argument is not as described, or LiteRT lacks an operation: the error
            names it and the layer.
        ImportError: If "litert" is asked for and its runtime is not installed.

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
    batches = [_inputs(one) for one in (() if representative_data is None else representative_data)]
    if (quantize == "int8") != bool(batches):
        raise ValueError(
            'export: `representative_data` must hold batches for quantize="int8", and only there. '
            f"Received: quantize={quantize!r}, {len(batches)} batches"
        )
    if sample is None:
        sample = batches[0] if batches else _random_sample(model)
    sample, path, note = _inputs(sample), Path(path), ""

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


def _numpy(values):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, values)


def _inputs(values):
    """Return inputs as arrays, real numbers in Keras' float type."""
    real = keras.config.floatx()
    return keras.tree.map_structure(
        lambda array: array.astype(real) if array.dtype.kind == "f" else array, _numpy(values)
    )


def _random_sample(model):
    rng = np.random.default_rng(0)
    shapes = [tuple(one.shape[1:]) for one in getattr(model, "inputs", None) or []]
    if not shapes or None in sum(shapes, ()):
        raise ValueError(
            f"export: give a `sample`: {model.name!r} does not say what it takes. "
            f"Received: inputs of shape {shapes}"
        )
    draws = [rng.standard_normal((1, *shape)).astype("float32") for shape in shapes]
    return draws if len(draws) > 1 else draws[0]


def _median_ms(call) -> float:
    call()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < SECONDS or len(times) < 3:
        tick = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - tick))
    return statistics.median(times)
