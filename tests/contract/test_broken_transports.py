"""The contract suite catches transports that break one promise each, and says which."""

from __future__ import annotations

import re

import pytest

from tests.support.broken_transports import ALL, Broken

SUITE = """
import pytest
from adapters.runtime.threads import ThreadRuntime
from adapters.testkit.memory_site import MemorySite
from adapters.testkit.transport_contract import TransportContract
from tests.support.broken_transports import LIMIT, {name}

class TestIt(TransportContract):
    limit = LIMIT
    raw = signs_of_life = logins = several_workers = read_back = False

    @pytest.fixture
    def site(self):
        return MemorySite({name}(ThreadRuntime()))
"""


@pytest.mark.parametrize("broken", ALL, ids=lambda broken: broken.server.__name__)
def test_a_broken_transport_is_caught_and_told_by_its_promise(pytester: pytest.Pytester, broken: Broken) -> None:
    pytester.makepyfile(SUITE.format(name=broken.server.__name__))
    done = pytester.inline_run("-p", "no:cacheprovider", "-k", broken.test)
    failed = [str(report.longrepr) for report in done.getfailures() if report.when == "call"]
    assert any(re.search(f"broken promise: {broken.says}", text) for text in failed), failed or "it passed"
