"""Put on PYTHONPATH of a watcher under test: plants a JPEG decoder that dies, or never returns, if a file asks for it.

Every process that the watcher starts is struck, as it would be by a fault in the real decoder.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from PIL.JpegImagePlugin import JpegImageFile

_load = JpegImageFile.load


def _poisonous(self: JpegImageFile) -> Any:
    wish = self.info.get("comment")
    if wish == b"segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    while wish == b"never return":
        time.sleep(3600)
    return _load(self)


JpegImageFile.load = _poisonous  # type: ignore[assignment,method-assign]  # the planted fault
