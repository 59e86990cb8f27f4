"""Messages as the client library's parser made them, without the record that the library dresses each of them in.

That record repeats the topic, the sizes and more, and to make one takes as long as to parse the message. A `Message`
needs the offset, the time, the key, the value and the headers, and those the parsed one has under the same names.
Used by the inputs alone, where samples come by the hundred thousand.
"""

from __future__ import annotations

from typing import Any


def hand_out_parsed(consumer: Any) -> None:
    """The started ``consumer`` hands out parsed messages from now on; a library that has changed is left alone."""
    fetcher: Any = getattr(consumer, "_fetcher", None)
    fetch: Any = getattr(fetcher, "_proc_fetch_request", None)
    if fetch is None or not hasattr(fetcher, "_records"):
        return

    async def fetched(*request: Any) -> Any:
        news = await fetch(*request)
        # Nobody was told yet of what has just come. An error that waits to be raised has no messages.
        for waiting in fetcher._records.values():  # noqa: SLF001 - nothing public leads there
            messages = getattr(waiting, "_partition_records", None)
            if messages is not None:
                messages._consumer_record = _as_parsed  # noqa: SLF001
        return news

    fetcher._proc_fetch_request = fetched  # noqa: SLF001


def _as_parsed(_place: Any, parsed: Any) -> Any:
    return parsed
