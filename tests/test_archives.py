"""Files that are broken or hostile: one line that names the file, nothing run, nothing changed."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from attn_core import SEAttention, load_torch_weights
from attn_core._cli import convert, maps
from attn_core._weights import archives
from safetensors.numpy import save as to_safetensors
from typer import BadParameter

STATE = {
    "fc.0.weight": np.linspace(-1, 1, 32, dtype="float32").reshape(4, 8),
    "fc.2.weight": np.linspace(-2, 2, 32, dtype="float32").reshape(8, 4),
}
BOMB = bytes(archives.ALLOWED + 1)
OUTSIDE = ["/fc.npy", "../fc.npy", "a/../../fc.npy", "..\\fc.npy", "C:\\fc.npy", "\\\\host\\fc.npy"]


class Payload:
    """What a pickle runs: it writes a file."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{**STATE, **arrays})
    return file.getvalue()


def zipped(*members, compression=zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def test_the_size_that_an_archive_may_unpack_to(tmp_path, monkeypatch):
    """Small ones may unpack to anything up to ALLOWED, others to EXPANSION times their size."""
    path = tmp_path / "weights.npz"
    path.write_bytes(zipped(("a.npy", bytes(100_000))))
    expansion = 100_000 / path.stat().st_size
    for allowed, times, passes in (
        (100_000, 1, True),
        (99_999, 1, False),
        (0, expansion + 1, True),
        (0, expansion - 1, False),
    ):
        monkeypatch.setattr(archives, "ALLOWED", allowed)
        monkeypatch.setattr(archives, "EXPANSION", times)
        if passes:
            archives.check_archive(path)
        else:
            with pytest.raises(ValueError, match="unpacks to 100,000 bytes"):
                archives.check_archive(path)


def promising(shape, kind="<f4") -> bytes:
    """Return a .npy whose header promises a shape, with the numbers of another."""
    header = str({"descr": kind, "fortran_order": False, "shape": shape}) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(64)


def lying() -> bytes:
    """Return a bomb whose directory says that it is small."""
    content = bytearray(zipped(("fc.0.weight.npy", BOMB)))
    for record, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(record) + offset
        content[place : place + 4] = struct.pack("<I", 100)
    return bytes(content)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


def tensors(header: dict | str, numbers: bytes = bytes(256), length: int | None = None) -> bytes:
    """Return a .safetensors file with a header of ours."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


def entry(**fields) -> dict:
    return {"fc.0.weight": {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]} | fields}


WHOLE = {".npz": npz(), ".safetensors": to_safetensors(STATE)}
BROKEN = {
    f"{what}{suffix}": content
    for suffix, whole in WHOLE.items()
    for what, content in {
        "empty": b"",
        "text": b"no weights",
        "one byte": b"P",
        "pickle": pickle.dumps(Payload()),
        "cut at 10": whole[:10],
        "half": whole[: len(whole) // 2],
        "without its last byte": whole[:-1],
        "with a byte changed": flipped(whole, 150 if suffix == ".npz" else 20),
        "zeros": bytes(len(whole)),
        "of the other kind": WHOLE[".npz" if suffix == ".safetensors" else ".safetensors"],
    }.items()
}
BROKEN |= {f"member {name!r}.npz": zipped((name, npy(np.ones(3)))) for name in OUTSIDE}
BROKEN |= {
    "array.npz": npy(np.ones(3)),
    "pickled member.npz": npz(**{"fc.0.weight": np.array([Payload()], dtype=object)}),
    "pickled field.npz": npz(x=np.array([(Payload(),)], dtype=[("a", object)])),
    "bomb.npz": zipped(("fc.0.weight.npy", BOMB)),
    "bomb of many.npz": zipped(*((f"{n}.npy", BOMB[: len(BOMB) // 4 + 1]) for n in range(4))),
    "lying bomb.npz": lying(),
    "bzip2.npz": zipped(("fc.0.weight.npy", b"0"), compression=zipfile.ZIP_BZIP2),
    "lzma.npz": zipped(("fc.0.weight.npy", b"0"), compression=zipfile.ZIP_LZMA),
    "endless.npz": zipped(("fc.0.weight.npy", promising((10**12,)))),
    "beyond all.npz": zipped(("fc.0.weight.npy", promising((10**30,)))),
    "negative.npz": zipped(("fc.0.weight.npy", promising((-4, -8)))),
    "of no shape.npz": zipped(("fc.0.weight.npy", promising("(4, 8)"))),
    "code in the header.npz": zipped(("fc.0.weight.npy", promising("__import__('os')"))),
    "text as numbers.npz": npz(**{"fc.0.weight": np.array(["a"] * 32).reshape(4, 8)}),
    "complex.npz": npz(**{"fc.0.weight": STATE["fc.0.weight"].astype("complex64")}),
    "fields.npz": npz(**{"fc.0.weight": np.zeros((4, 8), [("a", "f4")])}),
    "no array.npz": zipped(("fc.0.weight.npy", b"text"), ("fc.2.weight.npy", b"text")),
    "no header.safetensors": tensors("", b"", 0),
    "endless header.safetensors": tensors(entry(), length=2**63),
    "list.safetensors": tensors("[1, 2]"),
    "half a header.safetensors": tensors('{"fc.0.weight": {"dtype": "F32"'),
    "unknown dtype.safetensors": tensors(entry(dtype="PICKLE")),
    "offsets beyond.safetensors": tensors(entry(data_offsets=[0, 10**15])),
    "offsets backwards.safetensors": tensors(entry(data_offsets=[128, 0])),
    "negative.safetensors": tensors(entry(shape=[-4, -8])),
    "beyond all.safetensors": tensors(entry(shape=[2**40, 2**40])),
    "of other length.safetensors": tensors(entry(shape=[4, 4])),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("ran").exists(), "a file ran code"
    assert {path.name for path in tmp_path.parent.glob("fc*")} == set()


@pytest.fixture
def layer():
    layer = SEAttention(reduction=2)
    layer.build((None, 4, 4, 8))
    return layer


def weights(layer):
    return [keras.ops.convert_to_numpy(weight) for weight in layer.weights]


def refused(action, path, kind=ValueError) -> str:
    """Return the error of an action, which is one line and names the file."""
    with pytest.raises(kind) as caught:
        action()
    assert type(caught.value) is kind
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", BROKEN)
def test_broken_weights(name, layer):
    path = Path(name.replace("/", "|").replace("\\", "|"))
    path.write_bytes(BROKEN[name])
    before = weights(layer)
    if name in ("text as numbers.npz", "complex.npz", "fields.npz", "no array.npz"):
        with pytest.raises(ValueError, match=r"Entry 'fc\.0\.weight' must hold numbers"):
            load_torch_weights(layer, path)
    else:
        message = refused(lambda: load_torch_weights(layer, path), path)
        assert f"must be a whole {path.suffix} file of arrays" in message
    for one, other in zip(before, weights(layer), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "lies outside of the archive") for name in BROKEN if name.startswith("member")),
        ("bomb.npz", f"unpacks to {len(BOMB):,} bytes"),
        ("bomb of many.npz", "more than 100 times its own size"),
        ("bzip2.npz", "compressed in an unusual way"),
        ("lzma.npz", "compressed in an unusual way"),
    ],
)
def test_archives_are_judged_before_they_are_read(name, words, layer, monkeypatch):
    path = Path("weights.npz")
    path.write_bytes(BROKEN[name])
    monkeypatch.setattr(np, "load", None)
    assert words in refused(lambda: load_torch_weights(layer, path), path)


def test_whole_files_are_read(layer):
    for suffix, content in WHOLE.items():
        path = Path(f"weights{suffix}")
        path.write_bytes(content)
        load_torch_weights(layer, path)
        np.testing.assert_array_equal(weights(layer)[0], STATE["fc.0.weight"].T)
    np.savez_compressed("zeros.npz", **{name: 0 * array for name, array in STATE.items()})
    load_torch_weights(layer, "zeros.npz")
    assert not np.any(weights(layer)[0])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "must hold numbers"),
        ("text", "must hold numbers"),
        ([[1, 2], [3]], "must hold numbers"),
        (np.zeros((4, 8), bool), "must hold numbers"),
        (np.zeros((4, 8), object), "must hold numbers"),
        (np.zeros((4, 8), "datetime64[s]"), "must hold numbers"),
        (np.zeros((4, 8), [("a", "f4")]), "must hold numbers"),
        (3, "misshapen: fc.0.weight"),
        (np.zeros((3, 8)), "misshapen: fc.0.weight"),
        (np.zeros((4, 0)), "misshapen: fc.0.weight"),
    ],
)
@pytest.mark.parametrize("name", list(STATE))
def test_bad_entries_change_nothing(name, value, words, layer):
    before = weights(layer)
    with pytest.raises(ValueError, match=words.replace("fc.0.weight", name)):
        load_torch_weights(layer, {**STATE, name: value})
    for one, other in zip(before, weights(layer), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["float16", "float64", "longdouble", "int8", "uint64", "int64"])
def test_numbers_of_any_precision(kind, layer):
    load_torch_weights(layer, {name: array.astype(kind) for name, array in STATE.items()})
    np.testing.assert_allclose(weights(layer)[0], STATE["fc.0.weight"].astype(kind).T, rtol=1e-3)


@pytest.mark.parametrize("target", [None, 3, SEAttention, "SEAttention", np.zeros(3)], ids=str)
def test_no_layer(target):
    with pytest.raises(ValueError, match="Weights go into a built layer or model"):
        load_torch_weights(target, STATE)


@pytest.mark.parametrize("prefix", [None, 3, b"se.", ("se.",)])
def test_no_prefix(prefix, layer):
    with pytest.raises(ValueError, match="`prefix` must be a string"):
        load_torch_weights(layer, STATE, prefix=prefix)


@pytest.mark.parametrize("source", [None, 3, b"weights.npz", [1], {0: np.zeros(3)}], ids=str)
def test_no_source(source, layer):
    with pytest.raises(ValueError, match=r"mapping of names|must be strings"):
        load_torch_weights(layer, source)


# Saved models.


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the members of a saved model."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    inputs = keras.Input((4, 4, 8))
    keras.Model(inputs, SEAttention(reduction=2)(inputs)).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def changed(members, **others):
    """Return an archive with other members; config and weights stand for the long names."""
    names = {"config": "config.json", "weights": "model.weights.h5"}
    members = {**members, **{names[name]: content for name, content in others.items()}}
    return zipped(*((name, content) for name, content in members.items() if content is not None))


def with_class(members, module, name, **config):
    content = {"module": module, "class_name": name, "config": config, "registered_name": None}
    return changed(members, config=json.dumps(content))


def endless(members) -> bytes:
    """Return weights of which one says that it is large, and is stored in no bytes at all."""
    file = io.BytesIO(members["model.weights.h5"])
    with h5py.File(file, "a") as weights:
        names = []
        weights.visititems(lambda name, one: names.append(name) if hasattr(one, "dtype") else None)
        del weights[names[0]]
        weights.create_dataset(names[0], (10**12, 8), "f4", chunks=(10**6, 8), compression="gzip")
    return file.getvalue()


LAMBDA = keras.layers.Lambda(lambda x: Path("ran").touch() or x)

MODELS = {
    "text": lambda m: b"no model",
    "empty": lambda m: b"",
    "pickle": lambda m: pickle.dumps(Payload()),
    "half": lambda m: changed(m)[: len(changed(m)) // 2],
    "without its last bytes": lambda m: changed(m)[:-30],
    "with a byte changed": lambda m: flipped(changed(m), changed(m).index(b"config.json") + 40),
    "no members": lambda m: zipped(),
    "no config": lambda m: changed(m, config=None),
    "empty config": lambda m: changed(m, config=b""),
    "half a config": lambda m: changed(m, config=m["config.json"][:50]),
    "config of no class": lambda m: changed(m, config="{}"),
    "config of a list": lambda m: changed(m, config="[1, 2]"),
    "config of bytes": lambda m: changed(m, config=b"\xff\xfe\x00"),
    "a function": lambda m: with_class(m, "os", "system", command="touch ran"),
    "a class of Python": lambda m: with_class(m, "pathlib", "Path", path="ran"),
    "unknown class": lambda m: with_class(m, "attn_core.layers", "SEAtention", reduction=4),
    "unknown argument": lambda m: with_class(m, "attn_core.layers", "SEAttention", redution=4),
    "no number": lambda m: with_class(m, "attn_core.layers", "SEAttention", reduction="4"),
    "code": lambda m: changed(
        m, config=json.dumps(keras.saving.serialize_keras_object(LAMBDA))
    ),
    "no weights": lambda m: changed(m, weights=None),
    "empty weights": lambda m: changed(m, weights=b""),
    "half the weights": lambda m: changed(m, weights=m["model.weights.h5"][:3000]),
    "weights of zeros": lambda m: changed(m, weights=bytes(5000)),
    "endless weights": lambda m: changed(m, weights=endless(m)),
    "bomb": lambda m: changed(m, weights=BOMB),
    "large config": lambda m: changed(m, config=BOMB),
    "bzip2": lambda m: zipped(*m.items(), compression=zipfile.ZIP_BZIP2),
    **{
        f"member {name!r}": lambda m, name=name: zipped(*m.items(), (name, b"outside"))
        for name in OUTSIDE
    },
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_broken_models(name, saved):
    path = Path("model.keras")
    path.write_bytes(MODELS[name](saved))
    message = refused(lambda: maps.load(path), path, BadParameter)
    assert message.startswith("the model model.keras cannot be loaded: ")


@pytest.mark.parametrize("name", ["bomb", "large config", *(n for n in MODELS if "member " in n)])
def test_models_are_judged_before_they_are_read(name, saved, monkeypatch):
    path = Path("model.keras")
    path.write_bytes(MODELS[name](saved))
    monkeypatch.setattr(keras.saving, "load_model", None)
    assert "its member" in (message := refused(lambda: maps.load(path), path, BadParameter)) or (
        "unpacks to" in message
    )


def test_whole_models_are_loaded(saved):
    path = Path("model.keras")
    path.write_bytes(changed(saved))
    assert maps.load(path).layers[-1].reduction == 2


# Checkpoints of PyTorch.


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def checkpoint(torch, content, **options) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


CHECKPOINTS = {
    "empty": lambda t, w: b"",
    "text": lambda t, w: b"no weights",
    "pickle": lambda t, w: pickle.dumps(Payload()),
    "pickle of torch": lambda t, w: checkpoint(t, Payload()),
    "old pickle of torch": lambda t, w: checkpoint(
        t, Payload(), _use_new_zipfile_serialization=False
    ),
    "half": lambda t, w: w[: len(w) // 2],
    "cut at 100": lambda t, w: w[:100],
    "without its last byte": lambda t, w: w[:-1],
    "bomb": lambda t, w: zipped(("archive/data/0", BOMB)),
    "no members": lambda t, w: zipped(),
    "an npz": lambda t, w: WHOLE[".npz"],
    "a list": lambda t, w: checkpoint(t, [1, 2]),
    "a tensor": lambda t, w: checkpoint(t, t.ones(3)),
    "names alone": lambda t, w: checkpoint(t, {"fc.0.weight": "text"}),
    **{
        f"member {name!r}": lambda t, w, name=name: zipped((f"{name}", b"outside"))
        for name in OUTSIDE
    },
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_broken_checkpoints(name, suffix, torch):
    path = Path(f"weights{suffix}")
    state = {key: torch.tensor(array) for key, array in STATE.items()}
    path.write_bytes(CHECKPOINTS[name](torch, checkpoint(torch, state)))
    refused(lambda: convert.read(path), path)


def test_everything_saved_is_data(tmp_path):
    """`load_model(safe_mode=True)` suffices: config and numbers, no code, no pickle."""
    from cases import CASES

    for case in {case.layer: case for case in CASES}.values():
        inputs = keras.Input(case.shape[1:])
        path = tmp_path / f"{case.layer}.keras"
        keras.Model(inputs, case.make()(inputs)).save(path)
        with zipfile.ZipFile(path) as archive:
            assert set(archive.namelist()) == {"metadata.json", "config.json", "model.weights.h5"}
            config = archive.read("config.json").decode()
        assert "__lambda__" not in config
        assert "pickle" not in config
        archives.check_archive(path)
        keras.saving.load_model(path, safe_mode=True)
