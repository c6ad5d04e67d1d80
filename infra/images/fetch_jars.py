"""`fetch_jars.py FOLDER`: put the jars that Spark needs beside pyspark into a folder, each checked against the lock."""

import shutil
import sys
import tempfile
from pathlib import Path

from infra.native.components import components
from infra.native.fetch import fetch

with tempfile.TemporaryDirectory() as cache:
    fetch({"spark-jars"}, Path(cache))
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    for jar in components()["spark-jars"].folder(Path(cache)).glob("*.jar"):
        shutil.move(jar, target)
