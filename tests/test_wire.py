"""Messages arrive as they were sent; anything else is refused."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest

from nchl.wire import ProtocolError, pack, receive, send

ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3),
    "b": np.array([True, False]),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "number": np.array(3),
    "picture": np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
    "half": np.array([0.5], dtype=np.float16),
}


def written() -> bytes:
    return b"".join(pack({"do": "evaluate", "sigma": 0.1, "none": None}, ARRAYS))


def test_a_message_arrives_as_it_was_sent() -> None:
    pipe = io.BytesIO()
    sent = send(pipe, {"sigma": 0.1}, ARRAYS)
    pipe.seek(0)
    message, received = receive(pipe)
    assert sent == received == pipe.tell()
    assert message.header == {"sigma": 0.1}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(message.arrays[name], array)
        assert message.arrays[name].shape == array.shape
        assert message.arrays[name].dtype == array.dtype


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    whole = written()
    for place in range(len(whole)):
        with pytest.raises(EOFError):
            receive(io.BytesIO(whole[:place]))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        with pytest.raises(ProtocolError):
            receive(io.BytesIO(bytes(damaged)))


def test_what_could_execute_or_fill_the_memory_is_refused() -> None:
    with pytest.raises(ProtocolError):
        receive(io.BytesIO(pickle.dumps([1] * 100)))
    with pytest.raises(ProtocolError):  # arrays of Python objects
        receive(io.BytesIO(b"".join(pack({}, {"a": np.zeros(2, dtype="<c16")}))))
    with pytest.raises(ProtocolError):
        receive(io.BytesIO(b"nchl" + b"\xff" * 200))
