"""LiteRT files: writing them by Keras' export, running them, saying what cannot be converted."""

import re
from contextlib import contextmanager
from importlib.util import find_spec

import attn_core
import keras
import tensorflow as tf

from attn_tf.filters import GlobalFilter
from attn_tf.tuning import usable_cores


def require() -> None:
    """Raise an ImportError that says what to type where LiteRT's runtime is missing."""
    if find_spec("ai_edge_litert") is None:
        raise ImportError(
            'export: format="litert" runs what it wrote, which needs LiteRT:\n\n'
            '    pip install "attn-tf[export]"'
        )


def quantization(quantize: str | None, model, batches) -> dict:
    """Return the attributes of the converter."""
    supported = [tf.lite.OpsSet.TFLITE_BUILTINS]
    options = {"target_spec": {"supported_ops": supported}}
    if quantize is not None:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if quantize == "int8":
        supported.insert(0, tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
        options["representative_dataset"] = lambda: (_feed(model, batch) for batch in batches)
    return options


def write(model, path, options: dict) -> None:
    """Convert a model; where that fails, raise an error that names the layers and operations."""
    with _matrices(model):
        try:
            model.export(path, format="litert", verbose=False, **options)
        except Exception as error:  # TensorFlow's ConverterError has no public name
            failed = _failures(model, str(error))
            if not failed:
                raise
            raise ValueError(_sentence(model, failed)) from error


def reload(model, path, sample):
    """Return a function that runs the file on inputs as the Keras model takes them, and a note."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def runner(**options):
        interpreter = Interpreter(str(path), num_threads=usable_cores(), **options)
        signature = interpreter.get_signature_runner()
        (name, *others) = signature.get_input_details()

        def run(inputs):
            feed = _feed(model, inputs)
            feed = feed if others else {name: feed[0]}
            outputs = signature(**feed)
            return [outputs[name] for name in sorted(outputs, key=_order)]

        run(sample)
        return run

    try:
        return runner(), ""
    except RuntimeError as error:
        if "XNNPACK" not in str(error):
            raise
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return runner(experimental_op_resolver_type=plain), "XNNPACK refuses it: run without"


def _feed(model, inputs):
    """Return inputs as LiteRT takes them: several by the names of the model's."""
    values = keras.tree.flatten(inputs)
    if len(values) == 1:
        return values
    return dict(zip([one.name for one in model.inputs], values, strict=True))


def _order(name: str):
    """Sort the outputs as Keras does: numbered ones by number, named ones by name."""
    return (len(name) if re.fullmatch(r"output_\d+", name) else 0, name)


@contextmanager
def _matrices(model):
    """Make the filters that are free to choose take the method that LiteRT can run."""
    layers = model._flatten_layers()
    filters = [one for one in layers if isinstance(one, GlobalFilter) and one.method is None]
    for one in filters:
        one.method = "matrix"
    try:
        yield
    finally:
        for one in filters:
            one.method = None


FAILURE = re.compile(r'error: loc\((?:callsite\()?fused\["(\w+):", "([^"@]+)')
"""What the converter says of an operation: its name, then its place in the graph."""


def _failures(model, message: str) -> dict:
    """Return the layers that could not be converted, and the operations that LiteRT lacks."""
    failed = {}
    for operation, place in FAILURE.findall(message):
        failed.setdefault(_layer_at(model, place), {})[operation] = None  # a set in order
    return failed


def _sentence(model, failed: dict) -> str:
    parts = [
        f"{', '.join(operations)} in {type(layer).__name__} {layer.path or layer.name!r}"
        for layer, operations in failed.items()
    ]
    sentence = f"export: LiteRT lacks operations of {model.name!r}: {'; '.join(parts)}."
    if any(isinstance(layer, attn_core.GlobalFilter) for layer in failed):
        sentence += ' attn_tf.GlobalFilter takes the same weights and converts (method "matrix").'
    return sentence


def _layer_at(model, place: str):
    """Return the innermost layer at a place, such as "model_1/block_0_1/filter_1/IRFFT2D".

    Keras opens a layer's scope twice, once to build it: TensorFlow numbers the second.
    """
    layer = model
    for scope in place.split("/")[1:-1]:
        inner = layer._flatten_layers(include_self=False, recursive=False)
        names = {one.name: one for one in inner}
        layer = names.get(re.sub(r"_\d+$", "", scope), layer)
    return layer
