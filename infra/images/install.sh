#!/bin/sh
# install.sh IMAGE: make /opt/venv with the packages that the image needs, each file checked against the lock's hash.
set -eu
awk -f select.awk "packages/$1.txt" requirements.lock >wanted.txt
python3 -m venv --without-pip /opt/venv
pip="python3 -m pip --disable-pip-version-check --no-input --python /opt/venv/bin/python"
$pip install --no-cache-dir --no-deps --require-hashes --progress-bar off -r wanted.txt
$pip check
# Tests of libraries, and headers that only a compiler reads.
find /opt/venv -type d \( -path '*/pandas/tests' -o -path '*/pyarrow/tests' -o -path '*/pyarrow/include' -o -path '*/numpy/*/tests' \
  -o -path '*/pyspark/examples' -o -path '*/pyspark/data' \) -prune -exec rm -rf {} +
