"""The command line: parses, calls, prints. Results go to stdout, progress to stderr.

Nothing heavy is imported before a command needs it, so that `bpfree --help` answers at once.
"""

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from bpfree import __version__
from bpfree.cli import metering, reading, running
from bpfree.cli.options import err
from bpfree.errors import BpfreeError

INTERRUPTED = 130
"""Exit status that typer makes of Ctrl-C."""

app = typer.Typer(
    help="Does training without backpropagation really save energy? Train, tune, measure, compare, report.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
imports = typer.Typer(help="Take over runs that were made elsewhere, for reports of the same kind.")
imports.callback()(lambda: None)  # else its only command would be the group itself
imports.command()(reading.published)

PLAIN: tuple[Callable[..., None], ...] = (
    running.train, running.tune, running.study, running.calibrate, running.status,
    reading.report, reading.watch, reading.export, reading.targets,
)  # fmt: skip
for command in PLAIN:
    app.command()(command)
app.add_typer(imports, name="import")
app.command(context_settings={"allow_interspersed_args": False})(metering.measure)
app.command()(metering.doctor)
app.command("list")(reading.list_)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Does training without backpropagation really save energy? Train, tune, measure, compare, report."""
    if version:
        print(f"bpfree {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line; every error that a user can meet is one line on stderr."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever called
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (for as long as we run)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # a narrow encoding is no reason to fail
    ends: list[int] = []  # the signal, if one ends us

    def end(number: int, _: FrameType | None) -> None:
        ends.append(number)
        raise KeyboardInterrupt  # as Ctrl-C: a cluster's scheduler asks this way

    signal.signal(signal.SIGTERM, end)
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
    except BpfreeError as error:
        fail(str(error), error.exit_status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: end without noise
        raise SystemExit(1) from None
    except OSError as error:
        fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except typer.TyperException as error:
        fail(getattr(error, "format_message", error.__str__)(), 2)
    if status == INTERRUPTED:
        fail("stopped; every finished run of a study is kept: call again to go on", 128 + (ends or [signal.SIGINT])[0])
    raise SystemExit(status if isinstance(status, int) else 0)


def fail(message: str, status: int) -> None:
    """One line on stderr, and the exit status."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)  # names may hold anything
    err.print(f"bpfree: {shown}", style="red", soft_wrap=True, markup=False)
    raise SystemExit(status)
