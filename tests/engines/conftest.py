"""The clusters that these tests start. They need Java 17, root, and what `make test-engines` fetches."""

from collections.abc import Iterator

import pytest

from pipeline.engines import cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that selects engines."""
    parser.addoption("--engine", action="append", choices=tuple(cluster.ENGINES), help="may be given several times")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeats each test for each engine."""
    if "engine" in metafunc.fixturenames:
        names = metafunc.config.getoption("--engine") or tuple(cluster.ENGINES)
        metafunc.parametrize("engine", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def engine(request) -> Iterator[str]:
    """The name of an engine whose cluster runs; each cluster is started once, and one after the other."""
    cluster.start(request.param)
    yield request.param
    cluster.stop(request.param)
