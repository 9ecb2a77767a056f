"""How the C library keeps what Python has freed."""

from __future__ import annotations

from types import SimpleNamespace

from pytest_mock import MockerFixture

from adapters.runtime.heap import LARGE, M_MMAP_THRESHOLD, give_large_blocks_back


def test_the_threshold_of_glibc_is_fixed(mocker: MockerFixture) -> None:
    mallopt = mocker.Mock()
    mocker.patch("ctypes.CDLL", return_value=SimpleNamespace(mallopt=mallopt))
    give_large_blocks_back()
    mallopt.assert_called_once_with(M_MMAP_THRESHOLD, LARGE)


def test_a_c_library_without_that_is_left_alone(mocker: MockerFixture) -> None:
    library = mocker.patch("ctypes.CDLL", return_value=SimpleNamespace())
    give_large_blocks_back()
    library.assert_called_once_with(None)
