"""The sessions. `nox` runs lint and the tests on PyTorch, the quickest; `nox -l` lists all."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "tests(torch)"]
# What a session imports is compiled then. pip would compile all modules of PyTorch, TensorFlow and
# JAX, most of which nothing imports; of this option, false is what switches it on.
os.environ.setdefault("PIP_NO_COMPILE", "false")

BACKENDS = {"jax": "jax", "tensorflow": "tensorflow-cpu", "torch": "torch==2.13.0"}
"""What to install for each backend. The CPU builds serve in tests."""

ROOT = Path(__file__).parent
SOURCES = ROOT / "packages" / "attn-core" / "src"
GROUPS = nox.project.load_toml("pyproject.toml")


def groups(*names: str) -> list[str]:
    return [item for name in names for item in nox.project.dependency_groups(GROUPS, name)]


def environment(session: nox.Session, backend: str) -> dict[str, str]:
    """Return the variables of a backend's process; JAX keeps what it compiled."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(Path(session.cache_dir).resolve() / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    return {"KERAS_BACKEND": backend} | (cache if backend == "jax" else {})


def install_attn_tf(session: nox.Session) -> None:
    """Install attn-tf beside tensorflow-cpu, which its own dependency would overwrite."""
    project = nox.project.load_toml("packages/attn-tf/pyproject.toml")["project"]
    session.install(*project["optional-dependencies"]["export"])
    session.install("--no-deps", "./packages/attn-tf")


PARALLEL = ["-n", "auto", "--maxprocesses", "4", "--dist", "loadgroup"]
"""Arguments of pytest: several processes, of which one runs all tests of a group."""


def install_tests(session: nox.Session, backend: str) -> None:
    """Install the wheel with one backend, the only one in its environment, and the test tools."""
    exporters = groups("export-torch") if backend == "torch" else []  # tests/test_onnx.py
    libraries = (*groups("test"), *exporters, BACKENDS[backend])
    session.install(*libraries, "./packages/attn-core[safetensors,demo]")
    if backend == "tensorflow":
        install_attn_tf(session)


def run_tests(session: nox.Session, backend: str, *arguments: str) -> None:
    """Run pytest. JAX compiles without most optimizations, to save time; `parity` has them.

    One thread a process: several processes share the cores, and PyTorch's threads wait busily.
    """
    quick = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "OMP_NUM_THREADS": "1"}
    env = environment(session, backend) | quick
    session.run("pytest", *arguments, env=env)


def run_with(session: nox.Session, backend: str, *command: str) -> None:
    """Run Python in the environment of tests(backend)."""
    folder = Path(session.cache_dir).parent / f"tests-{backend}"
    python = folder / ("Scripts/python.exe" if (folder / "Scripts").exists() else "bin/python")
    session.run(str(python), *command, env=environment(session, backend), external=True)


@nox.session
@nox.parametrize("backend", list(BACKENDS), ids=list(BACKENDS))
def tests(session: nox.Session, backend: str) -> None:
    """Test the wheel: on PyTorch all but the thorough tests, elsewhere those of every backend."""
    install_tests(session, backend)
    marked = "not thorough" if backend == "torch" else "every_backend and not thorough"
    run_tests(session, backend, *(session.posargs or [*PARALLEL, "-m", marked]))


@nox.session(venv_backend="none")
@nox.parametrize("backend", list(BACKENDS), ids=list(BACKENDS))
def full(session: nox.Session, backend: str) -> None:
    """Run every test on one backend, in the environment of tests(backend): about half an hour."""
    install = ("nox", "--install-only", "-s", f"tests({backend})")
    session.run(sys.executable, "-m", *install, external=True)
    run_with(session, backend, "-m", "pytest", *(session.posargs or PARALLEL))


@nox.session
def coverage(session: nox.Session) -> None:
    """Report which lines of attn_core the tests run on PyTorch, in build/coverage/ too."""
    install_tests(session, "torch")
    session.install(*groups("coverage"))
    reports = ["--cov=attn_core", "--cov-branch", "--cov-report=term:skip-covered"]
    html = "--cov-report=html:build/coverage"
    run_tests(session, "torch", *PARALLEL, *reports, html, *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """Test the layers with the oldest Keras and NumPy that attn-core allows, on PyTorch."""
    project = nox.project.load_toml("packages/attn-core/pyproject.toml")["project"]
    pinned = [line.replace(">=", "==") for line in project["dependencies"]]
    libraries = (*groups("test"), *pinned, BACKENDS["torch"])
    session.install(*libraries, "./packages/attn-core[safetensors,demo]")
    files = [f"tests/test_{name}.py" for name in ("reference", "layers", "query", "archives")]
    session.run("pytest", *(session.posargs or files), env=environment(session, "torch"))


@nox.session
@nox.parametrize("backend", list(BACKENDS), ids=list(BACKENDS))
def newest(session: nox.Session, backend: str) -> None:
    """Test the layers with the newest Keras, pre-releases included."""
    session.install(*groups("test"), BACKENDS[backend], "./packages/attn-core[safetensors,demo]")
    session.install("--upgrade", "--pre", "keras")
    files = [f"tests/test_{name}.py" for name in ("reference", "layers", "models", "weights")]
    session.run("pytest", *(session.posargs or files), env=environment(session, backend))


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant faults in attn-core, count those that the tests find: `nox -s mutants -- --help`."""
    project = nox.project.load_toml("packages/attn-core/pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    libraries = (*project["dependencies"], *extras["safetensors"], *extras["demo"])
    session.install(*groups("test", "mutants"), *libraries, BACKENDS["torch"])
    env = environment(session, "torch") | {"PYTHONPATH": str(SOURCES)}
    session.run("pytest", "tests/test_mutants.py", env=env)
    session.run("python", "-u", "-m", "scripts.mutants", *session.posargs, env=env)


@nox.session(venv_backend="none")
def parity(session: nox.Session) -> None:
    """Compare backends: all, or those that are named, `nox -s parity -- jax torch`.

    One case of each layer; `-- --every-case` takes all, `-- --one-a-family` fewer, as CI does.
    """
    sample = [word for word in session.posargs if word in ("--every-case", "--one-a-family")]
    backends = [word for word in session.posargs if word not in sample] or list(BACKENDS)
    if len(backends) < 2 or set(backends) - set(BACKENDS):
        session.error(f"Name two or more of {', '.join(BACKENDS)}. Received: {backends}")
    for backend in backends:  # with the package as it is now
        install = ("nox", "--install-only", "-s", f"tests({backend})")
        session.run(sys.executable, "-m", *install, external=True)

    def side_by_side(*step: str) -> None:
        """Run a step on every backend, one process each, and wait for all."""
        command = ("tests/parity.py", *step, *sample)
        with ThreadPoolExecutor() as pool:
            runs = [pool.submit(run_with, session, backend, *command) for backend in backends]
        for run in runs:
            run.result()

    side_by_side("write")
    side_by_side("read", *backends)
    run_with(session, backends[0], "tests/parity.py", "compare", *backends, *sample)


@nox.session(venv_backend="none")
def proof(session: nox.Session) -> None:
    """Measure the errors that the pages show, docs/data/proof.json: on all or the named backends.

    What is refused is the same Python on every backend: it is counted on PyTorch.
    """
    files = [f"tests/test_{name}.py" for name in ("reference", "models", "precision")]
    chosen = [*files, "-k", "test_output_and_gradient or test_half_precision"]
    for backend in session.posargs or BACKENDS:
        if backend not in BACKENDS:
            session.error(f"Name some of {', '.join(BACKENDS)}. Received: {backend}")
        install = ("nox", "--install-only", "-s", f"tests({backend})")
        session.run(sys.executable, "-m", *install, external=True)
        run_with(session, backend, "-m", "pytest", "-q", *PARALLEL, *chosen)
        if backend == "torch":
            run_with(session, backend, "tests/bad_input.py")
        run_with(session, backend, "-m", "scripts.checks.proof")


@nox.session
@nox.parametrize("backend", list(BACKENDS), ids=list(BACKENDS))
def latency(session: nox.Session, backend: str) -> None:
    """Measure the times that the site draws, docs/data/latency.json, on an idle machine."""
    session.install(*groups("docs", "bench"), BACKENDS[backend], "./packages/attn-core[demo]")
    env = environment(session, backend) | {"PYTHONPATH": str(ROOT)}
    session.run("python", "-m", "scripts.checks.latency", env=env)


@nox.session(venv_backend="none")
def distribution(session: nox.Session) -> None:
    """Test several devices, several processes and killed runs. Run tests(backend) first."""
    for backend in session.posargs or BACKENDS:
        if backend not in BACKENDS:
            session.error(f"Name some of {', '.join(BACKENDS)}. Received: {backend}")
        run_with(session, backend, "-m", "pytest", "tests/distribution")


@nox.session
@nox.parametrize("backend", list(BACKENDS), ids=list(BACKENDS))
def exports(session: nox.Session, backend: str) -> None:
    """Export the layers and networks that docs/data/exports.json lacks; `-- --again`: all."""
    # With the tests, whose cases it exports.
    libraries = (*groups("test", f"export-{backend}"), BACKENDS[backend])
    session.install(*libraries, "./packages/attn-core")
    if backend == "tensorflow":
        install_attn_tf(session)
    env = environment(session, backend) | {"PYTHONPATH": "tests"}
    session.run("python", "-m", "scripts.checks.exports", *session.posargs, env=env)


@nox.session
def demo(session: nox.Session) -> None:
    """Train with attention to read one digit of three: `nox -s demo -- --attention se,cbam`."""
    session.install("./packages/attn-core[jax,demo]")
    session.run("attn", "demo", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into site/, with Material for MkDocs."""
    # On PyTorch, which compiles nothing: the pages train small networks and run examples once.
    session.install(*groups("docs"), BACKENDS["torch"], "./packages/attn-core[demo]")
    env = {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    session.run("python", "-m", "scripts.site.browser_libraries", env=env)  # build/npm/, kept
    session.run("python", "-m", "scripts.site.map_pictures", env=env)  # build/maps/, kept
    session.run("python", "-m", "scripts.site.gather", env=env)
    build = ["mkdocs", "build", "--strict", "--config-file", "build/mkdocs.yml"]
    session.run(*build, *session.posargs, env=env)
    session.run("python", "-m", "scripts.checks.foreign_resources", "site")


@nox.session
@nox.parametrize("backend", ["torch", "tensorflow"], ids=["torch", "tensorflow"])
def tutorials(session: nox.Session, backend: str) -> None:
    """Run the tutorials whose code has changed, and keep what they print and draw."""
    session.install(*groups("tutorials"), BACKENDS[backend], "./packages/attn-core[demo]")
    if backend == "tensorflow":
        install_attn_tf(session)
    env = environment(session, backend) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    session.run("python", "-m", "scripts.checks.tutorials", *session.posargs, env=env)


@nox.session
def browser(session: nox.Session) -> None:
    """Test the site in Debian's Chromium, without a network: `nox -s docs browser`.

    `-- --one-a-family` opens the page of one mechanism in each family, as CI does.
    """
    if not Path("site/index.html").exists():
        session.error("Run nox -s docs first: it builds the site.")
    session.install(*groups("browser"))
    # Without tests/conftest.py, which imports Keras.
    options = ["--confcutdir=tests/browser", "tests/browser", *PARALLEL, *session.posargs]
    session.run("pytest", *options, env={"PYTHONPATH": str(SOURCES)})


@nox.session
def playground(session: nox.Session) -> None:
    """Measure the playground's times, docs/data/playground.json, on an idle machine."""
    session.install(*groups("browser", "bench"))
    env = {"PYTHONPATH": f"{ROOT}{os.pathsep}tests"}
    session.run("python", "-m", "scripts.checks.playground", env=env)


@nox.session
def zensical(session: nox.Session) -> None:
    """Build the pages that `docs` has gathered into build/zensical/, with MkDocs' successor."""
    if not Path("build/docs").exists():
        session.error("Run nox -s docs first: it gathers the pages.")
    session.install(*groups("zensical"))
    env = {"PYTHONPATH": f"{ROOT}{os.pathsep}{SOURCES}", "SITE": "zensical"}
    session.run("zensical", "build", "--strict", "--config-file", "build/mkdocs.yml", env=env)
    session.run("python", "-m", "scripts.checks.foreign_resources", "build/zensical")


@nox.session
def tables(session: nox.Session) -> None:
    """Write README.md's list of mechanisms; `-- communication insertion`: two tables of docs/."""
    session.install(BACKENDS["jax"], "./packages/attn-core")
    env = environment(session, "jax")
    session.run("python", "-m", "scripts.tables", *session.posargs, env=env)


@nox.session
def new(session: nox.Session) -> None:
    """Write the skeleton of a new mechanism: `nox -s new -- gates sim-am SimAM`."""
    env = {"PYTHONPATH": str(SOURCES)}  # the catalog needs no Keras and no installation
    session.run("python", "-m", "scripts.new", *session.posargs, env=env)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure time and memory: `nox -s bench -- --help`."""
    arguments = session.posargs or ["scaling"]
    backends, used = [BACKENDS["jax"]], ["bench"]
    if arguments[0] == "peers":  # on every backend, beside timm
        backends, used = list(BACKENDS.values()), ["bench", "peers"]
    session.install(*groups(*used), *backends, "./packages/attn-core[demo]")
    session.run("python", "-m", "benchmarks", *arguments, env={"KERAS_BACKEND": "jax"})


@nox.session(name="bench-tf")
def bench_tf(session: nox.Session) -> None:
    """Measure attn_tf: `nox -s bench-tf -- filters`, the default, or `-- exports`."""
    session.install(*groups("bench"), BACKENDS["tensorflow"], "./packages/attn-core[demo]")
    install_attn_tf(session)
    env = environment(session, "tensorflow")
    session.run("python", "-m", "benchmarks.tf", *(session.posargs or ["filters"]), env=env)


@nox.session
def audit(session: nox.Session) -> None:
    """Look up what attn-core brings in PyPI's list of known vulnerabilities, over the network."""
    session.install(*groups("audit"), BACKENDS["jax"], "./packages/attn-core[safetensors,demo]")
    frozen = session.run("python", "-m", "pip", "freeze", "--exclude", "attn-core", silent=True)
    requirements = Path(session.create_tmp(), "requirements.txt")
    requirements.write_text(frozen)
    # Strict: a library that the list does not know is an error, not a library without faults.
    options = ["--strict", "--no-deps", "--disable-pip", *session.posargs]
    session.run("pip-audit", *options, "-r", str(requirements))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, and that type checkers see the public names."""
    session.install(*groups("lint"), "./packages/attn-core")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("python", "tests/typing/check.py")
