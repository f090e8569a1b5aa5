"""One call that sets up TensorFlow for the machine it runs on, and says what it did and why."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux tells a container its share of the cores."""

LATE = "too late, TensorFlow had started: call tune() before the first layer or tensor"


@dataclass(frozen=True)
class Setting:
    """One setting: its name, its value now, and why it has that value."""

    name: str
    value: object
    reason: str


@dataclass(frozen=True)
class Tuning:
    """What `tune` found and set: `tuning["jit_compile"]` is a value, `print(tuning)` a table."""

    settings: tuple[Setting, ...]

    def __getitem__(self, name: str):
        """Return the value of a setting."""
        return {setting.name: setting.value for setting in self.settings}[name]

    def __str__(self) -> str:
        """Return one line a setting: name, value, reason."""
        rows = [(one.name, str(one.value), one.reason) for one in self.settings]
        wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(
            f"{name:{wide[0]}}  {value:{wide[1]}}  {reason}" for name, value, reason in rows
        )


def tune(
    model: keras.Model | None = None,
    *,
    jit_compile: bool | str = "auto",
    mixed_precision: str = "auto",
    memory_growth: bool = True,
    tf32: bool | str = "auto",
    threads: int | str = "auto",
    verbose: bool = True,
) -> Tuning:
    """Choose and set XLA, mixed precision, GPU memory growth, TF32 and the numbers of threads.

    Call it first, before you create layers and tensors: threads and memory growth can only be set
    before TensorFlow starts, and a layer gets its precision when it is created. To set XLA for a
    compiled model, call `tune` again with this model. A second call does not change what the first
    has set.

    Args:
        model: A compiled model whose `jit_compile` is to be set; `None` = no model yet.
        jit_compile: Whether to compile with XLA; "auto" = only on GPUs and TPUs. Without a model,
            `True` makes XLA compile clusters of every graph, while "auto" only returns a value that
            you can pass on: `compile(..., jit_compile=tuning["jit_compile"])`.
        mixed_precision: Name of a dtype policy, or "auto": mixed_bfloat16 on TPUs and GPUs of
            compute capability 8.0, mixed_float16 from 7.0, else the policy that is set.
        memory_growth: Whether GPU memory is reserved as it is needed, instead of all at the start.
        tf32: Whether GPUs may round float32 products to TF32; "auto" = where the GPU can.
        threads: Number of threads within and between operations; "auto" = the number of cores that
            this process may use; the limit of a container counts.
        verbose: Whether to print the table.

    Returns:
        A `Tuning` of the settings, their values now, and the reason for each. If a setting could
        not be changed, the reason says so.

    Raises:
        ValueError: If an argument is not as described.

    Example:
        >>> tuning = tune(verbose=False)
        >>> [setting.name for setting in tuning.settings][:2]
        ['jit_compile', 'mixed_precision']
    """
    for name, value in (("jit_compile", jit_compile), ("tf32", tf32)):
        if value not in (True, False, "auto"):
            raise ValueError(
                f'tune: `{name}` must be True, False or "auto". Received: {name}={value!r}'
            )
    if threads != "auto" and (not isinstance(threads, int) or threads < 1):
        raise ValueError(
            f'tune: `threads` must be an integer >= 1 or "auto". Received: threads={threads!r}'
        )
    devices = Devices()
    tuning = Tuning(
        (
            _set_jit_compile(jit_compile, devices, model),
            _set_mixed_precision(mixed_precision, devices, model),
            _set_memory_growth(memory_growth, devices),
            _set_tf32(tf32, devices),
            *_set_threads(threads),
        )
    )
    if verbose:
        print(tuning)
    return tuning


class Devices:
    """The accelerators of this machine; looking at them starts nothing."""

    def __init__(self):
        self.gpus = tf.config.list_physical_devices("GPU")
        self.tpus = tf.config.list_physical_devices("TPU")
        details = [tf.config.experimental.get_device_details(gpu) for gpu in self.gpus]
        capabilities = [one.get("compute_capability", (0, 0)) for one in details]
        self.capability = min(capabilities, default=(0, 0))
        """The least compute capability of the GPUs; (0, 0) where there is none or no CUDA."""

    def __str__(self) -> str:
        """Return the accelerators as the reasons name them."""
        if self.tpus:
            return "TPUs"
        if self.capability > (0, 0):
            return "GPUs of compute capability {}.{}".format(*self.capability)
        return "GPUs without CUDA" if self.gpus else "no GPU"


def _set_jit_compile(wanted, devices: Devices, model) -> Setting:
    value, reason = wanted, "as asked"
    if wanted == "auto":
        value = bool(devices.tpus) or devices.capability > (0, 0)
        reason = f"{devices}: XLA {'fuses kernels' if value else 'is no faster than graphs'}"
    if model is not None:
        if model.jit_compile != value:
            model.jit_compile = value
            model.train_function = model.test_function = model.predict_function = None
        value, reason = model.jit_compile, f"{reason}; set on {model.name}"
    elif wanted != "auto":
        tf.config.optimizer.set_jit("autoclustering" if value else False)
        reason += "; set for the clusters of every graph"
    else:
        reason += "; give it to compile()"
    return Setting("jit_compile", value, reason)


def _set_mixed_precision(wanted: str, devices: Devices, model) -> Setting:
    name, reason = wanted, "as asked"
    if wanted == "auto":
        name, reason = None, f"{devices}: left as it was"
        if devices.tpus or devices.capability >= (8, 0):
            name, reason = "mixed_bfloat16", f"{devices}: bfloat16 units, the range of float32"
        elif devices.capability >= (7, 0):
            name, reason = "mixed_float16", f"{devices}: float16 units"
    if name is not None:
        keras.config.set_dtype_policy(name)
    policy = keras.config.dtype_policy().name
    if model is not None and model.dtype_policy.name != policy:
        reason += f"; too late for {model.name}, made in {model.dtype_policy.name}"
    return Setting("mixed_precision", policy, reason)


def _set_memory_growth(wanted: bool, devices: Devices) -> Setting:
    if not devices.gpus:
        return Setting("memory_growth", None, "no GPU")
    reason = "takes memory as it is needed" if wanted else "takes all memory at the start"
    for gpu in devices.gpus:
        try:
            if bool(tf.config.experimental.get_memory_growth(gpu)) != wanted:
                tf.config.experimental.set_memory_growth(gpu, wanted)
        except RuntimeError:
            reason = LATE
    value = all(tf.config.experimental.get_memory_growth(gpu) for gpu in devices.gpus)
    return Setting("memory_growth", value, reason)


def _set_tf32(wanted, devices: Devices) -> Setting:
    can = devices.capability >= (8, 0)
    if wanted != "auto" or can:
        tf.config.experimental.enable_tensor_float_32_execution(bool(wanted))
    value = tf.config.experimental.tensor_float_32_execution_enabled()
    reason = "as asked" if wanted != "auto" else "products of float32 on tensor cores"
    return Setting("tf32", value, reason if can else f"{devices}: no effect")


def _set_threads(wanted) -> list[Setting]:
    count = usable_cores() if wanted == "auto" else wanted
    settings = []
    for name in ("intra_op", "inter_op"):
        get = getattr(tf.config.threading, f"get_{name}_parallelism_threads")
        reason = "the cores that this process may use" if wanted == "auto" else "as asked"
        try:
            if get() != count:
                getattr(tf.config.threading, f"set_{name}_parallelism_threads")(count)
        except RuntimeError:
            reason = LATE
        settings.append(Setting(f"{name}_threads", get() or "TensorFlow's own", reason))
    return settings


def usable_cores() -> int:
    """Return the number of cores that this process may use, a container's share counted."""
    linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or no limit: "max"
        return cores
