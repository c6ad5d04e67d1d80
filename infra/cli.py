"""The command `sluice`. A command is a module of `infra.commands`, imported only when it is called: all start quickly."""

import importlib
import importlib.util
import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_command_from_info
from typer.models import CommandInfo

from catalog.errors import SluiceError

# Name and summary of every command, in the order of the help page.
COMMANDS = {
    "up": "Start the stack: fetch what is missing, start every part, wait until all are ready.",
    "down": "End every part that was started, and no other process.",
    "status": "Show each part with its state, URL, pid and memory.",
    "logs": "Show a part's log.",
    "restart": "Restart one part.",
    "doctor": "Tell what this machine has and lacks.",
    "apply": "Create or evolve topics, tables and gold models from the contracts.",
    "send": "Send a file of records through the gateway.",
    "keys": "Make, list and revoke API keys of the gateway.",
    "users": "Let people ask Trino: add, list, passwd and revoke.",
    "spool": "List, export or drain events that wait on the gateway's disk.",
    "sql": "Run one SQL query on Trino.",
    "verify": "Prove that nothing acknowledged was lost and nothing counted twice.",
    "check": "Judge the contracts' quality rules over the tables.",
    "stream": "Show offsets that Kafka lost before bronze had them, and go on without them.",
    "replay": "Judge quarantined rows again.",
    "backfill": "Load history into a stream.",
    "maintain": "Compact tables, expire snapshots, remove orphans.",
    "backup": "Keep what the catalog's database knows in a file.",
    "restore": "Fill the catalog's database anew, from a backup or from the bucket alone.",
    "erase": "Erase the rows of a person.",
    "bench": "Measure the stack on this machine.",
    "demo": "Send the demo data and show where it went.",
    "expose": "Let others reach the gateway for a demonstration, by ngrok or cloudflared.",
    "images": "Build the container images.",
    "secrets": "Make the passwords of a stack in containers.",
    "test": "Run the tests.",
}
# These choose or read the stack's settings themselves; all others work on a stack that runs and find it in the environment.
OWN_SETTINGS = {"up", "down", "status", "logs", "restart", "doctor", "test", "images", "secrets"}
EPILOG = """\
Examples:\n
  ./sluice up --demo\n
  ./sluice up --only postgres,minio,kafka,trino --port-base 22000\n
  ./sluice up --with monitoring\n
  ./sluice status --json\n
  ./sluice logs stream -f\n
  ./sluice sql 'select count(*) from silver.orders'\n
  ./sluice down --purge
"""


class LazyCommands(TyperGroup):
    """Looks a command's module up when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in COMMANDS if importlib.util.find_spec(f"infra.commands.{name}")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        function: Any = _summary_only
        if cmd_name in sys.argv[1:]:  # the help page needs no more than the summaries
            if cmd_name not in OWN_SETTINGS:
                _adopt_stack()
            function = getattr(importlib.import_module(f"infra.commands.{cmd_name}"), cmd_name)
        if isinstance(function, typer.Typer):
            return get_command(function)
        summary = COMMANDS[cmd_name] if function is _summary_only else None
        info = CommandInfo(cmd_name, callback=function, help=summary)
        return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode=None)


def _adopt_stack() -> None:
    """Point this process at the checkout's stack, if it has one; what the caller's environment says comes first."""
    from infra.native import config

    stack = config.load(config.state_folder())
    if stack is not None:
        for name, value in config.variables(stack).items():
            os.environ.setdefault(name, value)


def _summary_only() -> None:
    """Stands for a command on the help page."""


app = typer.Typer(
    cls=LazyCommands,
    name="sluice",
    epilog=EPILOG,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def sluice() -> None:
    """Sluice: events in over HTTP, exactly once into Apache Iceberg tables, out by SQL seconds later."""


def main() -> None:
    """Run the command line. What a user caused ends in one line and exit code 1, wrong usage in 2, Ctrl-C in 130."""
    try:
        app(prog_name="sluice")
    except SluiceError as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as failure:
        from catalog.refusals import refusal

        refused = refusal(failure)
        if refused is None and not isinstance(failure, OSError):
            raise
        print(f"error: {refused or _of_a_file(failure)}", file=sys.stderr)
        sys.exit(1)


def _of_a_file(failure: Exception) -> str:
    """No room, no right, not a folder: whatever it was, and of which file."""
    named = f"{found}: " if (found := getattr(failure, "filename", None)) else ""
    return f"{named}{getattr(failure, 'strerror', None) or failure}"


if __name__ == "__main__":
    main()
