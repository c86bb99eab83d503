"""The servers of the tests end in silence: what they say would be taken for a fault of what is tested."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.origin import Answer, body, endless, serve_origin, silent


@pytest.mark.parametrize("answer", [silent(), endless(), body(b"x")], ids=["waiting", "sending", "idle"])
async def test_connections_that_are_cut_at_the_end_say_nothing(answer: Answer) -> None:
    """Whatever a connection is busy with, it is closed at the end, and asyncio has nothing to complain of."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, complaint: complaints.append(complaint))
    async with serve_origin({"/": answer}) as origin:
        reader, writer = await asyncio.open_connection("127.0.0.1", origin.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await origin.reached(lambda seen: len(seen.requests) == 1)
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert complaints == []
