"""What every test may use: real data, markers that need a service, hypothesis profiles, a cache of kernels."""

from __future__ import annotations

import decimal
import os
import signal
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.data_registry import REGISTRY
from tests.events import SUM_ANALYSIS

if TYPE_CHECKING:
    from tests.lentworkers import Lender
    from vrecompute import Client
    from vrecompute.run import Run
    from vrecompute.sites.model import Site

ROOT = Path(__file__).parents[1]
# Compiled kernels are kept between test runs, away from the checkout.
os.environ.setdefault("VRECOMPUTE_CACHE", str(Path(tempfile.gettempdir()) / f"vrecompute-tests-{os.getuid()}"))
# Python takes a compiled module for fresh while its source has the same size and second; tests edit them sooner.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
sys.dont_write_bytecode = True

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("default", max_examples=25, deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile("brief", max_examples=5, deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile("acceptance", max_examples=500, deadline=None, suppress_health_check=_SLOW_IS_FINE)
ACCEPTANCE = bool(os.environ.get("VRECOMPUTE_ACCEPTANCE"))
settings.load_profile("acceptance" if ACCEPTANCE else "default")


# A lab is a folder of containers/ with a lab.toml; its name is the marker of its tests.
LABS = {path.parent.name: tomllib.loads(path.read_text()) for path in (ROOT / "containers").glob("*/lab.toml")}


def pytest_configure(config: pytest.Config) -> None:
    """Each lab's marker. And Ctrl-C as in a terminal, though a shell that runs this in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name, lab in LABS.items():
        config.addinivalue_line("markers", f"{name}: needs {lab['about']}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`lab` marks every test of some lab; what is only for `make acceptance` is left out elsewhere."""
    for item in items:
        if any(mark.name in LABS for mark in item.iter_markers()):
            item.add_marker("lab")
    if not ACCEPTANCE:
        left_out = [item for item in items if item.get_closest_marker("acceptance")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def required() -> frozenset[str]:
    """The services and data whose absence must fail, not skip (VRECOMPUTE_REQUIRE=slurm,s3,data)."""
    return frozenset(filter(None, os.environ.get("VRECOMPUTE_REQUIRE", "").replace(" ", "").split(",")))


def absent(name: str, reason: str) -> None:
    """Skip because `name` is absent, or fail where VRECOMPUTE_REQUIRE names it."""
    if name in required():
        pytest.fail(f"VRECOMPUTE_REQUIRE names {name!r}, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """An analysis that sets decimal's precision, numpy's error handling or a variable sets it for its own test."""
    variables = dict(os.environ)
    with decimal.localcontext(), np.errstate():
        yield
    if dict(os.environ) != variables:
        os.environ.clear()
        os.environ.update(variables)


@pytest.fixture(scope="session", name="absent")
def _absent() -> Callable[[str, str], None]:
    """The function `absent(name, reason)`, for fixtures that look for a service."""
    return absent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; the test skips where there is none, or fails where it is required."""
    how = "python -m tests.data_registry fetch DIR, then VRECOMPUTE_TEST_DATA=DIR"
    named = os.environ.get("VRECOMPUTE_TEST_DATA")
    if not named:
        absent("data", f"VRECOMPUTE_TEST_DATA is not set; get the files with: {how}")
    folder = Path(named or "").expanduser().resolve()
    if not folder.is_dir():
        absent("data", f"VRECOMPUTE_TEST_DATA={folder} is no directory; get the files with: {how}")
    return folder


@pytest.fixture(scope="session")
def data_file(data_dir: Path) -> Callable[[str], Path]:
    """The function `data_file("hep_root/nano_dy.root")`: the path of one registered file of the real data."""

    def path_of(name: str) -> Path:
        original = REGISTRY[name]
        path = data_dir / name
        if not path.is_file():
            absent("data", f"{path} is missing; its original: {original.source}")
        return path

    return path_of


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user of the machine can enter: pytest's own are below one that nobody else can."""
    with tempfile.TemporaryDirectory(prefix="vrecompute-reachable-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of this machine with one worker."""
    from vrecompute import Client  # once the folder of compiled kernels is known

    with Client(workers=1, store=tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture(scope="session")
def _lender() -> Iterator[Lender]:
    from tests.lentworkers import Lender

    made = Lender()
    yield made
    made.close()


@pytest.fixture(scope="module")
def lent_workers(_lender: Lender) -> Iterator[None]:
    """Clients of this machine get the workers that those before left as they were: of this module, and of others.

    For whole modules, by `pytestmark = pytest.mark.usefixtures("lent_workers")`.
    """
    with pytest.MonkeyPatch.context() as patch:
        _lender.lend(patch)
        yield


@pytest.fixture(scope="module", autouse=True)
def _no_workers_but_its_own(request: pytest.FixtureRequest) -> None:
    """A module that is lent no workers finds none: it may look at processes, or end them."""
    lent = any("lent_workers" in mark.args for mark in request.node.iter_markers("usefixtures"))
    if not lent and "tests.lentworkers" in sys.modules:
        request.getfixturevalue("_lender").close()


@pytest.fixture
def run(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """`run(data)`: a run of SUM_ANALYSIS that has ended, in this test's own store."""
    monkeypatch.setattr(client, "_store_given", tmp_path / "store")
    (tmp_path / "sums.py").write_text(SUM_ANALYSIS)
    return lambda data, **options: client.run(str(tmp_path / "sums.py"), data, **options).wait(60)


@pytest.fixture(scope="session")
def examples() -> Callable[[int], int]:
    """The function `examples(full)`: `full` repetitions in `make acceptance`, a twentieth (at least 5) otherwise."""
    return lambda full: full if ACCEPTANCE else max(5, full // 20)


@pytest.fixture
def qq_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The site of the driver that backends/README.md prints, with a simulated queue; its code is run only here."""
    from tests.backends.readme_driver import site_of_qq

    yield from site_of_qq(tmp_path, monkeypatch)
