"""Token Status List: the specification's own examples (§4.1, §4.2, Appendix C), read and written; and what is no list."""

import random
import zlib
from base64 import urlsafe_b64encode

import pytest

from idp.protocol.status_list import StatusListError, decode, encode, packed, status

MOST = 1 << 20
ENTRIES = 1 << 20

#: §4.1: each status by its place.
ONE_BIT = dict(enumerate([1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]))
TWO_BITS = dict(enumerate([1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]))

#: Appendix C.1 and C.2: what is not named is 0.
C1 = {0: 1, 1993: 1, 25460: 1, 159495: 1, 495669: 1, 554353: 1, 645645: 1, 723232: 1, 854545: 1, 934534: 1, 1000345: 1}
C1_LST = (
    "eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogEAAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAAAAAAAAAA7KpLAAAAAAAAAAAAAAAAAAAAAJsLCQAAAAAAAAAAADjelAAAAAAAAAAA"
    "KjDMAQAAAACAZC8L2AEb"
)
C2 = {0: 1, 1993: 2, 25460: 1, 159495: 3, 495669: 1, 554353: 1, 645645: 2, 723232: 1, 854545: 1, 934534: 2, 1000345: 3}
C2_LST = (
    "eNrt2zENACEQAEEuoaBABP5VIO01fCjIHTMStt9ovGVIAAAAAABAbiEBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEB5WwIAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAID0ugQAAAAAAAAAAAAAAAAA"
    "QG12SgAAAAAAAAAAAAAAAAAAAAAAAAAAAOCSIQEAAAAAAAAAAAAAAAAAAAAAAAD8ExIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwJEuAQAA"
    "AAAAAAAAAAAAAAAAAAAAAMB9SwIAAAAAAAAAAAAAAAAAAACoYUoAAAAAAAAAAAAAAEBqH81gAQw"
)

VECTORS = [
    pytest.param(1, 16, ONE_BIT, "eNrbuRgAAhcBXQ", id="section 4.2, 1 bit"),
    pytest.param(2, 12, TWO_BITS, "eNo76fITAAPfAgc", id="section 4.2, 2 bits"),
    pytest.param(1, ENTRIES, C1, C1_LST, id="C.1"),
    pytest.param(2, ENTRIES, C2, C2_LST, id="C.2"),
]


def test_the_byte_arrays_are_those_of_the_specification() -> None:
    assert packed(ONE_BIT, 16, 1).hex() == "b9a3"
    assert packed(TWO_BITS, 12, 2).hex() == "c944f9"


@pytest.mark.parametrize(("bits", "size", "statuses", "lst"), VECTORS)
def test_the_examples_of_the_specification_are_read(bits: int, size: int, statuses: dict[int, int], lst: str) -> None:
    array = decode(lst, MOST)
    assert {index for index in range(size) if status(array, bits, index)} == {at for at, value in statuses.items() if value}
    assert all(status(array, bits, index) == value for index, value in statuses.items())


@pytest.mark.parametrize(("bits", "size", "statuses", "lst"), VECTORS)
def test_the_examples_of_the_specification_are_written(bits: int, size: int, statuses: dict[int, int], lst: str) -> None:
    """Another zlib may compress in another way: what counts is what it unpacks to, by the highest level."""
    written = encode(packed(statuses, size, bits))
    assert decode(written, MOST) == decode(lst, MOST)
    assert written.startswith("eN")  # 0x78 0xda: zlib, best compression
    assert "=" not in written


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_what_is_written_is_read(bits: int) -> None:
    drawn = random.Random(bits)
    statuses = {drawn.randrange(4096): drawn.randrange(1 << bits) for _ in range(500)}
    array = decode(encode(packed(statuses, 4096, bits)), MOST)
    assert [status(array, bits, index) for index in range(4096)] == [statuses.get(index, 0) for index in range(4096)]


@pytest.mark.parametrize("index", [-1, 16, 1 << 70])
def test_an_index_out_of_bounds_says_nothing(index: int) -> None:
    with pytest.raises(StatusListError):
        status(packed(ONE_BIT, 16, 1), 1, index)


@pytest.mark.parametrize("bits", [0, 3, 16, -2])
def test_other_sizes_of_a_status_are_refused(bits: int) -> None:
    with pytest.raises(StatusListError):
        status(bytes(64), bits, 0)


@pytest.mark.parametrize("lst", ["", "!", "e", "eNrbuRgAAhcB", "eNrbuRgAAhcBXA", "AAAA", "é"])
def test_what_is_no_list_is_refused(lst: str) -> None:
    with pytest.raises(StatusListError):
        decode(lst, MOST)


def test_a_list_that_unpacks_to_very_much_is_refused_before_it_does() -> None:
    bomb = urlsafe_b64encode(zlib.compress(bytes(1 << 26), 9)).decode().rstrip("=")
    with pytest.raises(StatusListError):
        decode(bomb, MOST)
