"""The forms that texts of the wire must have: each pattern with the words that say it to a person.

Patterns keep to what JSON Schema (ECMAScript), Rust's and Python's regular expressions read alike.
"""

from __future__ import annotations

NO_CONTROL = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
"""Text that can be printed on a terminal or a log line: no control characters, line ends or direction overrides."""

NO_NUL = r"^[^\u0000]*$"

IMAGE = (
    r"^(?:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[a-f0-9]{64})?$"
)
"""Image references as distribution/reference's grammar has them, digests of sha256 only."""

SIGNAL = (
    r"^(?:SIG)?(?:TERM|INT|QUIT|HUP|KILL|USR1|USR2|WINCH|ABRT|ALRM|CONT|PWR|STOP|TSTP|RTMIN(?:\+[0-9]{1,2})?"
    r"|RTMAX(?:-[0-9]{1,2})?)$"
)
PORT_NAME = r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$"
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
LABEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"
VOLUME = r"^[^:\u0000-\u001f]+:/[^:\u0000-\u001f]*(?::(?:ro|rw))?$"
NETWORK = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
DEVICE = r"^/dev/[A-Za-z0-9._/-]+(?::/dev/[A-Za-z0-9._/-]+(?::[rwm]{1,3})?)?$"
CAPABILITY = r"^(?:CAP_)?[A-Z][A-Z_]{1,30}$"
MOUNT = r"^/[^:\u0000-\u001f]*(?::(?:ro|rw))?$"
USER = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?$"
HEALTH_PATH = r"^(?:/[!-~]*)?$"
METRIC_NAME = r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,127}$"
SERVICE = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"

_WORDS = {
    NO_CONTROL: "must hold no control characters or line ends",
    NO_NUL: "must hold no NUL character",
    IMAGE: "must be an image reference such as shop/checkout:2.4.1",
    SIGNAL: "must be the name of a signal such as TERM or INT",
    PORT_NAME: "must be a port name: lower-case letters, digits and inner hyphens, 32 at most",
    ENV_NAME: "must be an environment name such as MODE",
    LABEL_NAME: "must be a label name such as team or example.com/team",
    VOLUME: "must be a volume such as data:/var/lib/data or /srv:/srv:ro",
    NETWORK: "must be the name of a network",
    DEVICE: "must be a device such as /dev/fuse or /dev/sda:/dev/xvda:r",
    CAPABILITY: "must be a capability such as NET_ADMIN, or ALL",
    MOUNT: "must be an absolute path such as /srv/data or /srv/data:ro",
    USER: "must be a user such as app, 1000 or 1000:1000",
    HEALTH_PATH: "must be a path that begins with a slash",
    METRIC_NAME: "must be a metric name: a letter, then letters, digits and _ . : / -, 128 at most",
    SERVICE: "must be a name of a service or host: lower-case letters, digits and inner hyphens, 63 at most",
}


def words_of(pattern: str) -> str:
    """What a text that fails ``pattern`` must be."""
    return _WORDS.get(pattern, "has not the form that it must have")
