"""One running cloud for all tests; those that stop it or count what it holds start their own."""

from collections.abc import Iterator

import pytest

from tests.cloud.server import RunningCloud, running_cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running
