from __future__ import annotations

import pytest

from triggers.web.entrance import reached_from_elsewhere

ANYWHERE = "0.0.0.0"  # noqa: S104  nothing is bound here


@pytest.mark.parametrize(
    ("hosts", "reached"),
    [
        (["127.0.0.1"], False), (["127.0.0.1", "::1"], False), (["127.8.9.10"], False), ([ANYWHERE], True),
        (["::"], True), (["192.168.1.7"], True), (["127.0.0.1", "10.0.0.1"], True), (["fe80::1%eth0"], True),
    ],
)  # fmt: skip
def test_addresses_that_other_machines_reach_are_known(hosts: list[str], reached: bool) -> None:  # noqa: FBT001
    assert reached_from_elsewhere(hosts) is reached
