"""The tools' command lines: argparse with errors of one sentence, and exit codes as everywhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from shared.experiment.errors import BadInput, ExperimentError
from tools._repo import nearest


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """An argument parser for `python -m tools.<program>` that raises BadInput."""
    made = argparse.ArgumentParser(
        prog=f"python -m tools.{program}",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def refuse(message: str) -> NoReturn:
        raise BadInput(f"{message[0].upper()}{message[1:]} (see {made.prog} --help).")

    made.error = refuse
    return made


def parse(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parsed arguments. An unknown option is refused with the nearest known ones."""
    arguments, unknown = made.parse_known_args(argv)
    if unknown:
        known = [option for action in made._actions for option in action.option_strings]
        options = [word for word in unknown if word.startswith("-")]
        if options:
            name = options[0].split("=")[0]
            raise BadInput(f"There is no option {name}{nearest(name, known)}.")
        raise BadInput(f"There is one argument too many: {unknown[0]!r} (see {made.prog} --help).")
    return arguments


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """`main`'s exit code; an ExperimentError becomes its sentence on stderr and its exit code."""
    try:
        return main(argv)
    except ExperimentError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `| head` has read enough
        sys.stderr.close()
        return 0
