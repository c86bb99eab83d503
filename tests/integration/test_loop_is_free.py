"""The event loop of a worker stays free for its other work while it fetches, compresses and stores."""

from __future__ import annotations

import asyncio
import gc
import io
import time

from PIL import Image

from services.watcher.image import Place, deliver
from services.watcher.settings import WatcherSettings
from services.watcher.worker import tools
from tests.conftest import MakeSettings
from tests.support.heartbeat import heart
from tests.support.origin import Answer, body, gzip_bomb, gzipped, serve_origin, status
from tests.support.pictures import photo

MOST_SECONDS = 0.020

TURNS = 4
"""All answers are gone through in a quarter of a second: too little to have looked often."""


def _saved(picture: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()


def _answers() -> dict[str, Answer]:
    large = Image.effect_noise((2400, 1800), 60).convert("RGB")
    kinds = {
        "/large.jpg": body(_saved(large, "JPEG")),
        "/large.png": body(_saved(large.quantize(16), "PNG")),
        "/deep.png": body(_saved(Image.effect_noise((1200, 1200), 60).convert("I;16"), "PNG")),
        "/packed.jpg": gzipped(photo(1, (1500, 1500))),
        "/bomb": gzip_bomb(64 << 20),
        "/none": status(404),
        "/page.jpg": body(b"<html>" + b"x" * 5_000_000),
    }
    small = {f"/{n}": body(photo(n, (200, 300) if n % 2 else (1000, 1000))) for n in range(30)}
    return kinds | small


async def test_the_loop_is_never_blocked_over_20_milliseconds(make_settings: MakeSettings) -> None:
    """Small and large pictures, packed ones, bombs and pages pass through; no other task waits 20 ms for the loop."""
    settings = make_settings(WatcherSettings, codec_threads=2, max_image_bytes=20_000_000)

    async def work(urls: list[str]) -> tuple[int, float, int]:
        """Deliver all at once, in a loop and a thread of its own: the origin's work is not the worker's."""
        async with tools(settings) as opened:
            await deliver(urls[0], [Place(0, 0)], request_id="warm", options={}, turn_of="", tools=opened)
            ended: list[object] = []
            async with heart() as beating:
                for turn in range(TURNS):
                    jobs = (
                        deliver(url, [Place(row, 0)], request_id=f"r{turn}", options={}, turn_of="b", tools=opened)
                        for row, url in enumerate(urls)
                    )
                    ended += await asyncio.gather(*jobs, return_exceptions=True)
        return sum(isinstance(one, list) for one in ended), beating.longest, beating.beats

    answers = await asyncio.to_thread(_answers)
    gc.collect()
    gc.freeze()  # what the tests hold is not looked through again and again: a worker does the same at its start
    async with serve_origin(answers) as origin:
        urls = [origin.url(path) for path in reversed(answers)]
        succeeded, longest, beats = await asyncio.to_thread(lambda: asyncio.run(work(urls)))
    gc.unfreeze()
    assert succeeded == 34 * TURNS
    assert beats > 50
    assert longest < MOST_SECONDS


async def test_a_planted_stall_is_noticed() -> None:
    """A task that computes for 30 ms in the loop is seen by the heart, and one that only sleeps is not."""
    async with heart() as beating:
        await asyncio.sleep(0.05)
        assert beating.longest < MOST_SECONDS
        ends = time.thread_time() + 0.030
        while time.thread_time() < ends:
            pass
        await asyncio.sleep(0.01)
    assert beating.longest >= 0.030
