"""One running cloud for all tests of a file; tests that stop or fill it start their own."""

from collections.abc import Iterator

import pytest

from tests.cloud.server import RunningCloud, running_cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running
