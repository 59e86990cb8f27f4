"""Every form that a text must have is said in words, never as a pattern."""

from __future__ import annotations

import re
from typing import Any

import pytest

from autoscaler.errors import EventRejected
from autoscaler.events import forms
from autoscaler.events.arrivals import DEPLOYMENT, read_data

PATTERNS = {name: value for name, value in vars(forms).items() if name.isupper() and isinstance(value, str)}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=list(PATTERNS))
def test_every_form_has_its_words_and_is_anchored(pattern: str) -> None:
    assert forms.words_of(pattern).startswith("must ")
    assert (pattern[0], pattern[-1]) == ("^", "$")
    re.compile(pattern)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("image", "Shop/Checkout", "must be an image reference such as shop/checkout:2.4.1"),
        ("stop", {"signal": "NOW"}, "must be the name of a signal such as TERM or INT"),
        ("command", "serve", "should be a valid list"),
        ("image", "a" * 513, "should have at most 512 characters"),
        ("privileged", True, "there is no such field"),
    ],
)
def test_rejection_says_what_would_be_right(field: str, value: Any, text: str) -> None:
    with pytest.raises(EventRejected) as caught:
        read_data(DEPLOYMENT, {"revision": {"image": "a", field: value}})
    assert str(caught.value) == text
