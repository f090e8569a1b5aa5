"""tune: what it chooses, sets and says. Machines with GPUs are played."""

import keras
import pytest
import tensorflow as tf
from attn_tf import tune, tuning

pytestmark = pytest.mark.every_backend  # these run on TensorFlow alone


@pytest.fixture(autouse=True)
def _restore():
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    yield
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    tf.config.optimizer.set_jit(False)


@pytest.fixture
def machine(monkeypatch):
    """Return a function that plays a machine; the dictionary it returns is the memory growth."""

    def play(*capabilities, tpus=0, started=False):
        gpus = [f"GPU:{i}" for i in range(len(capabilities))]
        devices = {"GPU": gpus, "TPU": ["TPU"] * tpus}
        details = dict(zip(gpus, capabilities, strict=True))
        growth = dict.fromkeys(gpus, False)

        def set_growth(gpu, value):
            if started:
                raise RuntimeError("Physical devices cannot be modified after being initialized")
            growth[gpu] = value

        experimental = tf.config.experimental
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: devices[kind])
        monkeypatch.setattr(experimental, "get_memory_growth", growth.get)
        monkeypatch.setattr(experimental, "set_memory_growth", set_growth)
        monkeypatch.setattr(
            experimental,
            "get_device_details",
            lambda gpu: {"compute_capability": details[gpu]} if details[gpu] else {},
        )
        return growth

    return play


def reason(result, name):
    return next(one.reason for one in result.settings if one.name == name)


@pytest.mark.parametrize(
    ("capabilities", "tpus", "policy", "xla"),
    [
        ([(9, 0), (8, 0)], 0, "mixed_bfloat16", True),
        ([(8, 6), (7, 5)], 0, "mixed_float16", True),
        ([(6, 1)], 0, "float32", True),
        ([None], 0, "float32", False),
        ([], 1, "mixed_bfloat16", True),
        ([], 0, "float32", False),
    ],
    ids=["8.0", "7.5", "6.1", "no CUDA", "TPU", "CPU"],
)
def test_choices_by_device(machine, capabilities, tpus, policy, xla):
    growth = machine(*capabilities, tpus=tpus)
    result = tune(verbose=False)
    assert result["mixed_precision"] == keras.config.dtype_policy().name == policy
    assert result["jit_compile"] is xla
    assert all(growth.values())
    assert result["memory_growth"] is (True if capabilities else None)
    for setting in result.settings:
        assert len(setting.reason) > 5
    assert tune(verbose=False) == result


def test_own_policy_is_left_on_cpus(machine):
    machine()
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert tune(verbose=False)["mixed_precision"] == "mixed_bfloat16"


def test_everything_as_asked(machine):
    growth = machine((8, 0))
    growth["GPU:0"] = True
    result = tune(
        jit_compile=True,
        mixed_precision="float32",
        memory_growth=False,
        tf32=False,
        verbose=False,
    )
    assert tf.config.optimizer.get_jit() == "autoclustering"
    assert keras.config.dtype_policy().name == "float32"
    assert growth == {"GPU:0": False}
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    assert (result["jit_compile"], result["tf32"]) == (True, False)
    tune(jit_compile=False, tf32=True, verbose=False)
    assert not tf.config.optimizer.get_jit()
    assert tf.config.experimental.tensor_float_32_execution_enabled()


def test_too_late_for_memory_growth(machine, capsys):
    growth = machine((8, 0), started=True)
    result = tune()
    assert growth == {"GPU:0": False}
    assert result["memory_growth"] is False
    assert reason(result, "memory_growth").startswith("too late")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(result.settings)
    assert any(line.startswith("memory_growth ") and "too late" in line for line in lines)


def test_model_is_compiled_as_chosen(machine):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", jit_compile=False)
    model.predict_on_batch(keras.ops.ones((1, 3)))
    machine((8, 0))
    result = tune(model, verbose=False)
    assert model.jit_compile is result["jit_compile"] is True
    assert model.predict_function is None  # made anew, by XLA
    assert "too late for sequential" in reason(result, "mixed_precision")
    model.predict_on_batch(keras.ops.ones((1, 3)))
    made = model.predict_function
    assert tune(model, verbose=False) == result
    assert model.predict_function is made


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"jit_compile": "yes"}, ("`jit_compile`", "'yes'")),
        ({"tf32": None}, ("`tf32`", "None")),
        ({"threads": 0}, ("`threads`", "0")),
        ({"threads": 1.5}, ("`threads`", "1.5")),
        ({"mixed_precision": "half"}, ("half",)),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        tune(**arguments, verbose=False)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "cores"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8), (None, 8)]
)
def test_usable_cores(text, cores, tmp_path, monkeypatch):
    if text:
        (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(tuning, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(tuning.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert tuning.usable_cores() == cores
