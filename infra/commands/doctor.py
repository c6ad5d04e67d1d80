"""`sluice doctor`."""

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from infra.native import config
from infra.native.checkup import findings
from infra.native.status import wide_console

SIGNS = {
    "ok": "[green]ok[/]",
    "fetch": "[cyan]will be fetched[/]",
    "note": "[yellow]note[/]",
    "lack": "[red]missing[/]",
}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="A list of findings.")] = False) -> None:
    """Tell what this machine has and lacks, what would be fetched, and the command that mends each lack.

    Exit code 1 if something is missing that `sluice up` cannot fetch.
    """
    found = findings(config.state_folder(), os.environ)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        console = wide_console()
        for finding in found:
            console.print(f"{finding.subject:<12} {SIGNS[finding.verdict]:<24} {finding.detail}", soft_wrap=True)
            if finding.remedy:
                console.print(f"{'':<12} → {finding.remedy}", soft_wrap=True)
    if any(finding.verdict == "lack" for finding in found):
        raise typer.Exit(1)
