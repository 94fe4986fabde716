"""The clusters that these tests start. They need Java 17, root, and what `make test-engines` fetches."""

from collections.abc import Iterator

import pytest

from pipeline.engines import cluster


@pytest.fixture(scope="session", params=tuple(cluster.ENGINES))
def engine(request) -> Iterator[str]:
    """The name of an engine whose cluster runs; each cluster is started once, and one after the other."""
    cluster.start(request.param)
    yield request.param
    cluster.stop(request.param)
