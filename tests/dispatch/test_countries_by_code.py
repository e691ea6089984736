from __future__ import annotations

import phonenumbers
import pytest

from triggers.dispatch.phones import country_of


@pytest.mark.parametrize("code", sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
def test_the_country_that_a_code_alone_tells_is_the_one_that_the_number_tells(code: int) -> None:
    for rest in ("1380013800", "206123456", "700900100", "0000000"):
        number = f"+{code}{rest}"
        region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
        assert country_of(number) == (None if region == "001" else region)
