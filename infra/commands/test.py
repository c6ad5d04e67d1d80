"""`sluice test`: format, lint, types and tests, as the continuous integration runs them."""

import os
import subprocess
import sys
import tempfile
from typing import IO, Annotated

import typer

from infra.native.config import CHECKOUT

CHECKS = (
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
    ("lint", ("ruff", "check", "--quiet", ".")),
)
TYPES = ("mypy",)
# They start no stack, so some can run at once.
UNIT = ("--numprocesses", "auto", "--maxprocesses", "4", "tests/unit")


def test(
    pytest_arguments: Annotated[
        list[str] | None, typer.Argument(help="Passed on to pytest after `--`, e.g. tests/unit.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Only what needs no server: under two minutes.")] = False,
    long: Annotated[bool, typer.Option("--long", help="All cases, more than an hour of them.")] = False,
    compose: Annotated[
        bool, typer.Option("--compose", help="Only the stack in containers; needs an engine (DOCKER_HOST).")
    ] = False,
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="Only the stack on a cluster (KUBECONFIG) that has the images.")
    ] = False,
) -> None:
    """Run the checks and the tests. The tests start a stack of their own on free ports and end it.

    SLUICE_KEEP=1 leaves that stack running and says where it is.

    Exit code: 0 all passed, 1 something failed, 2 wrong usage.
    """
    if compose or kubernetes:
        chosen = [name for name, wanted in (("compose", compose), ("kubernetes", kubernetes)) if wanted]
        os.environ.update({f"SLUICE_TEST_{name.upper()}": "1" for name in chosen})
        named = any(argument.startswith("tests") for argument in pytest_arguments or ())
        folders = () if named else tuple(f"tests/{name}" for name in chosen)
        sys.exit(0 if _run("tests", "pytest", *(pytest_arguments or ()), *folders) else 1)
    runs = {"tests": tuple(pytest_arguments)} if pytest_arguments else {"unit tests": UNIT}
    if not (pytest_arguments or fast):
        runs["tests on servers"] = ("tests", "--ignore=tests/unit")
    with tempfile.TemporaryFile() as said:
        types = _start(*TYPES, output=said)  # beside the tests, which leave a core to it
        try:
            failed = [name for name, command in CHECKS if not _run(name, *command)]
            cases = ("-m", "") if long else ()
            failed += [name for name, where in runs.items() if not _run(name, "pytest", *cases, *where)]
            if types.wait():
                failed.append("types")
        finally:
            types.kill()
            types.wait()
        print("── types", flush=True)
        said.seek(0)
        sys.stdout.write(said.read().decode())
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        sys.exit(1)


def _run(name: str, *command: str) -> bool:
    print(f"── {name}", flush=True)
    process = _start(*command)
    try:
        return process.wait() == 0
    except KeyboardInterrupt:  # the tests had it too, and end their servers
        process.wait()
        raise


def _start(module: str, *arguments: str, output: IO[bytes] | None = None) -> "subprocess.Popen[bytes]":
    # The tests choose their own stack: settings of the caller's must not leak into it.
    own = {"SLUICE_KEEP", "SLUICE_TEST_STATE", "SLUICE_CACHE", "SLUICE_TEST_PORT_BASE", "SLUICE_PYTHON"} | {
        "SLUICE_BUILD_ARGS", "SLUICE_TEST_COMPOSE", "SLUICE_TEST_KUBERNETES", "SLUICE_TEST_IMAGES",
        "SLUICE_TEST_PATIENCE", "SLUICE_FAULTS", "SLUICE_FAULTS_SEED", "SLUICE_FAULTS_NAMED", "SLUICE_FAULTS_REPORT",
    }  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_") or key in own}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=output, stderr=output)
