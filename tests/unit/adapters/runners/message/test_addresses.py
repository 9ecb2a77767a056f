"""Mail addresses as people write them."""

from __future__ import annotations

import pytest

from adapters.runners.message.addresses import addresses, ascii_domain, made
from domain.errors import InvalidTask


@pytest.mark.parametrize(
    ("text", "specs", "name"),
    [
        ("a@b.org", ["a@b.org"], ""), ("Ada <a@b.org>", ["a@b.org"], "Ada"), ('"L, Ada" <a@b.org>', ["a@b.org"], "L, Ada"),
        ("a@b.org, c@d.org", ["a@b.org", "c@d.org"], ""), ("root", ["root"], ""), ("Jürgen <ü@b.org>", ["ü@b.org"], "Jürgen"),
    ],
)  # fmt: skip
def test_an_address_is_read_as_people_write_it(text: str, specs: list[str], name: str) -> None:
    found = addresses([text])
    assert [one.addr_spec for one in found] == specs
    assert found[0].display_name == name


@pytest.mark.parametrize("text", [" ", ",", "Ada <>", "a@b.org\r\nBcc: x@y.org", "a@b.org\0"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidTask):
        addresses([text])


def test_a_name_brings_no_header_of_its_own() -> None:
    with pytest.raises(InvalidTask, match="mail header"):
        made("Ada\r\nBcc: x@y.org", "a@b.org")


@pytest.mark.parametrize(
    ("domain", "known"),
    [("b.org", "b.org"), ("Bücher.example", "xn--bcher-kva.example"), ("straße.de", "xn--strae-oqa.de"), ("例え。jp", "xn--r8jz45g.jp")],
)  # fmt: skip
def test_a_domain_becomes_what_dns_knows(domain: str, known: str) -> None:
    assert ascii_domain(domain) == known
    assert made("", f"a@{domain}").domain == known
