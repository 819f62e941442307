"""How often a client may ask: so many times at once, and as many again in each while.

Counted on the clock that nobody sets: were it the time of day, setting that back would shut everybody out for as long.
"""

from __future__ import annotations

import time

from limits import parse
from starlette.types import Scope

from glassformer.errors import TooMany

NANOSECONDS = 10**9
# So many clients are held before those who have all their requests again are looked for, and let go.
MANY_CLIENTS = 1024


class Rate:
    """`1200/minute` gives each client 1200 requests, and one more every 50 ms up to that; "" never refuses.

    Of a client one number is held, and only until it has everything again: the generic cell rate algorithm
    (ITU-T I.371), whose cell is a request.
    """

    def __init__(self, text: str) -> None:
        self._while_ns = self._each_ns = 0
        if text:
            rate = parse(text)
            self._while_ns = rate.get_expiry() * NANOSECONDS
            self._each_ns = self._while_ns // rate.amount
        # When each client has everything again.
        self._whole_at_ns: dict[str, int] = {}
        self._most = MANY_CLIENTS

    def __len__(self) -> int:
        """Clients that are held."""
        return len(self._whole_at_ns)

    def wait_secs(self, client: str) -> float:
        """How long `client` has to wait for its next request; 0 where it need not."""
        now_ns = time.monotonic_ns()
        whole_at_ns = max(self._whole_at_ns.get(client, 0), now_ns)
        return max(0, whole_at_ns + self._each_ns - self._while_ns - now_ns) / NANOSECONDS

    def count(self, client: str) -> None:
        """Take one request from what `client` has left."""
        if not self._each_ns:
            return
        now_ns = time.monotonic_ns()
        self._whole_at_ns[client] = max(self._whole_at_ns.get(client, 0), now_ns) + self._each_ns
        if len(self) > self._most:
            self._whole_at_ns = {name: at for name, at in self._whole_at_ns.items() if at > now_ns}
            self._most = max(MANY_CLIENTS, 2 * len(self))


def charge(rate: Rate, client: str) -> None:
    """Count a request of `client`. Raises TooMany where it has none left."""
    wait_secs = rate.wait_secs(client)
    if wait_secs:
        raise TooMany("Too many requests; wait a little.", retry_after_secs=wait_secs)
    rate.count(client)


def find_client(scope: Scope) -> str:
    """The address that a request comes from, or that a trusted proxy names."""
    host: str = (scope.get("client") or ("unknown", 0))[0]
    return host
