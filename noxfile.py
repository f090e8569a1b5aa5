"""The sessions: `nox` runs the default tests, lint and parity; `nox -l` lists all."""

import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "tests(jax)", "tests(tensorflow)", "parity"]

BACKENDS = {"jax": "jax", "tensorflow": "tensorflow-cpu", "torch": "torch==2.13.0"}
"""What to install for each backend. The CPU builds serve in tests."""

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


def run_with(session: nox.Session, backend: str, *command: str) -> None:
    """Run Python in the environment of tests(backend)."""
    folder = Path(session.cache_dir).parent / f"tests-{backend}"
    python = folder / ("Scripts/python.exe" if (folder / "Scripts").exists() else "bin/python")
    session.run(str(python), *command, env=environment(session, backend), external=True)


@nox.session
@nox.parametrize("backend", list(BACKENDS), ids=list(BACKENDS))
def tests(session: nox.Session, backend: str) -> None:
    """Test the wheel on one backend, the only one in its environment."""
    session.install(*groups("test"), BACKENDS[backend], "./packages/attn-core[safetensors,demo]")
    if backend == "tensorflow":
        install_attn_tf(session)
    arguments = session.posargs or ["-n", "auto", "--maxprocesses", "4", "--dist", "loadgroup"]
    # Here compiling is what costs.  compares what users run: with all optimizations.
    env = environment(session, backend) | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    session.run("pytest", *arguments, env=env)


@nox.session
def oldest(session: nox.Session) -> None:
    """Test the layers with the oldest Keras and NumPy that attn-core allows, on PyTorch."""
    project = nox.project.load_toml("packages/attn-core/pyproject.toml")["project"]
    pinned = [line.replace(">=", "==") for line in project["dependencies"]]
    libraries = (*groups("test"), *pinned, BACKENDS["torch"])
    session.install(*libraries, "./packages/attn-core[safetensors,demo]")
    files = [f"tests/test_{name}.py" for name in ("reference", "layers", "query", "archives")]
    session.run("pytest", *(session.posargs or files), env=environment(session, "torch"))


@nox.session(venv_backend="none")
def parity(session: nox.Session) -> None:
    """Compare backends, all that are named: `nox -s parity -- jax tensorflow torch`."""
    backends = session.posargs or ["jax", "tensorflow"]
    if len(backends) < 2 or set(backends) - set(BACKENDS):
        session.error(f"Name two or more of {', '.join(BACKENDS)}. Received: {backends}")
    for backend in backends:  # with the package as it is now
        install = ("nox", "--install-only", "-s", f"tests({backend})")
        session.run(sys.executable, "-m", *install, external=True)
    for backend in backends:
        run_with(session, backend, "tests/parity.py", "write")
    for backend in backends:
        run_with(session, backend, "tests/parity.py", "read", *backends)
    run_with(session, backends[0], "tests/parity.py", "compare", *backends)


@nox.session(venv_backend="none")
def distribution(session: nox.Session) -> None:
    """Several devices and processes, and kills, after tests(backend): `... -- jax torch`."""
    for backend in session.posargs or BACKENDS:
        if backend not in BACKENDS:
            session.error(f"Name some of {', '.join(BACKENDS)}. Received: {backend}")
        run_with(session, backend, "-m", "pytest", "tests/distribution")


@nox.session
@nox.parametrize("backend", list(BACKENDS), ids=list(BACKENDS))
def exports(session: nox.Session, backend: str) -> None:
    """Export every layer, reload, compare: what docs/data/exports.json lacks, or `-- --again`."""
    session.install(*groups(f"export-{backend}"), BACKENDS[backend], "./packages/attn-core")
    if backend == "tensorflow":
        install_attn_tf(session)
    env = environment(session, backend) | {"PYTHONPATH": "tests"}
    session.run("python", "scripts/exports.py", *session.posargs, env=env)


@nox.session
def demo(session: nox.Session) -> None:
    """Train with attention on handwritten digits: `nox -s demo -- --attention se,cbam`."""
    session.install("./packages/attn-core[jax,demo]")
    session.run("attn", "demo", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into site/, with Material for MkDocs."""
    session.install(*groups("docs"), BACKENDS["jax"], "./packages/attn-core[demo]")
    env = environment(session, "jax") | {"PYTHONPATH": "scripts", "NO_MKDOCS_2_WARNING": "1"}
    session.run("python", "scripts/page_maps.py", env=env)  # build/maps/, kept
    session.run("python", "scripts/docs_pages.py", env=env)
    session.run("mkdocs", "build", "--strict", *session.posargs, env=env)
    session.run("python", "scripts/foreign_resources.py", "site")


@nox.session
def browser(session: nox.Session) -> None:
    """Test the site in Debian's Chromium, without a network: `nox -s docs browser`."""
    if not Path("site/index.html").exists():
        session.error("Run nox -s docs first: it builds the site.")
    session.install(*groups("browser"))
    # Without tests/conftest.py, which imports Keras.
    session.run("pytest", "--confcutdir=tests/browser", "tests/browser", *session.posargs)


@nox.session
def zensical(session: nox.Session) -> None:
    """Build the pages that `docs` has gathered into build/zensical/, with MkDocs' successor."""
    if not Path("build/docs").exists():
        session.error("Run nox -s docs first: it gathers the pages.")
    session.install(*groups("zensical"))
    env = {"PYTHONPATH": "scripts", "SITE": "build/zensical"}
    session.run("zensical", "build", "--strict", env=env)
    session.run("python", "scripts/foreign_resources.py", "build/zensical")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure time and memory: `nox -s bench -- --help`."""
    session.install(*groups("bench"), BACKENDS["jax"], "./packages/attn-core[demo]")
    arguments = session.posargs or ["scaling"]
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
    """Check style and formatting."""
    session.install(*groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
