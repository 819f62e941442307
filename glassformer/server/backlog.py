"""What waits to be sent to a page: the newest, in number and bytes. One that does not read has nothing else kept."""

from __future__ import annotations

import asyncio
from collections import deque

MOST_FRAMES = 64
MOST_BYTES = 32 * 2**20


class Backlog:
    """Frames on their way to one page. The oldest make way for the newest, which is taken however large it is."""

    def __init__(self, *, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        self._frames: deque[bytes | str] = deque()
        self._come = asyncio.Event()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes | str) -> None:
        self._frames.append(frame)
        self.nbytes += len(frame)
        while len(self) > 1 and (len(self) > self._most_frames or self.nbytes > self._most_bytes):
            self._take()
        self._come.set()

    async def get(self) -> bytes | str:
        """The oldest, once there is one."""
        while not self._frames:
            self._come.clear()
            await self._come.wait()
        return self._take()

    def _take(self) -> bytes | str:
        frame = self._frames.popleft()
        self.nbytes -= len(frame)
        return frame
