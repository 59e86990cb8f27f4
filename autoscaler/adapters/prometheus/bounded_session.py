"""A requests session whose answers cannot take longer or be larger than allowed.

requests' own timeout is per read, so that a server that sends a byte a second is waited for without end; and a body is
read whole, however large. No environment (proxies, netrc) is looked at and no redirect is followed.
"""

from __future__ import annotations

import time
from typing import Any

import requests
import urllib3

CHUNK_BYTES = 65536
BODY_BYTES_MAX = 4 * 1024 * 1024


class AnswerUnfit(requests.RequestException):
    """The answer was too large or broke off."""


class BoundedSession(requests.Session):
    """Every answer is complete within ``timeout_s`` of its request and at most ``BODY_BYTES_MAX`` long.

    Raises requests' own exceptions: ``ReadTimeout`` past the time, `AnswerUnfit` past the size.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self.trust_env = False
        self.max_redirects = 0
        self._timeout_s = timeout_s

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Sends it and reads the whole answer."""
        until = time.monotonic() + self._timeout_s
        response = super().send(request, **(options | {"stream": True}))
        try:
            # What is read from the raw answer is not offered as ``content``: this is where requests keeps it.
            response._content = self._read(response, until)  # noqa: SLF001
        except urllib3.exceptions.ReadTimeoutError as error:
            raise requests.ReadTimeout(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise AnswerUnfit(error) from error
        finally:
            response.raw.close()  # a connection whose answer was read whole has been kept before
        return response

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: a redirect is an answer. By ``max_redirects`` alone its body would be read without bound first."""

    def _read(self, response: requests.Response, until: float) -> bytes:
        body = bytearray()
        # read1 returns what has come; requests' own iter_content waits for a whole chunk, however slow.
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise AnswerUnfit(f"the answer is larger than {BODY_BYTES_MAX} bytes")
            if time.monotonic() > until:
                raise requests.ReadTimeout(f"no complete answer within {self._timeout_s:g} s")
        return bytes(body)
