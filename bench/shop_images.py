"""What both orchestrators run: a web server in two good versions, one that never gets healthy and one that ends.

The shop finishes what it is doing for some seconds after TERM, as a well-behaved server does. The names lie under an
address where nobody listens: Swarm tries to pull a tag before each start, and there this fails at once.
"""

from __future__ import annotations

from tests.parts.images import HTTPD, import_image

REPOSITORY = "127.0.0.1:9"
PLAIN_IMAGE = f"{REPOSITORY}/plain:1"
GOOD = (f"{REPOSITORY}/shop:1", f"{REPOSITORY}/shop:2")
SICK, QUITS = f"{REPOSITORY}/sick:1", f"{REPOSITORY}/quits:1"

SERVE = b"""#!/bin/sh
trap 'sleep 6; kill $server; exit 0' TERM
/bin/httpd -f -p 8080 -h /www &
server=$!
while :; do wait $server; done
"""


def make(url: str) -> None:
    """Make the images on the engine at ``url`` (again is harmless)."""
    import_image(url, PLAIN_IMAGE, "version 1", {"Entrypoint": HTTPD})
    for number, reference in enumerate(GOOD, start=1):
        import_image(url, reference, f"version {number}", {"Entrypoint": ["/bin/serve"]}, {"bin/serve": (SERVE, 0o755)})
    import_image(url, SICK, "sick", {"Entrypoint": ["/bin/httpd", "-f", "-p", "8080", "-h", "/bin"]})
    import_image(url, QUITS, "quits", {"Entrypoint": ["/bin/sh", "-c", "exit 3"]})
