"""`healthy.py PORT/PATH`: exit 0 if this container answers there with a status below 400. For images without curl."""

import os
import ssl
import sys
import urllib.request

# A container asks itself, under an address that its certificate does not name.
PART = "GATEWAY" if sys.argv[1].startswith(f"{os.environ.get('SLUICE_GATEWAY_PORT')}/") else "METRICS"
encrypted = os.environ.get(f"SLUICE_{PART}_TLS_CERTIFICATE")
unseen = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), unseen)

try:
    DIRECT.open(f"http{'s' if encrypted else ''}://127.0.0.1:{sys.argv[1]}", timeout=3).close()
except OSError as failure:
    sys.exit(f"{sys.argv[1]}: {failure}")
