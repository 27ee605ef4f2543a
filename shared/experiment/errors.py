"""Everything that can go wrong in a way the user can mend, each as one clear sentence.

The command line prints the sentence and nothing else (`--debug` adds the traceback) and ends with
the error's exit code. Whatever is not an `ExperimentError` is a bug of ours.
"""


class ExperimentError(Exception):
    """A failure that is explained by its message: one sentence, for a person."""

    exit_code = 1


class BadInput(ExperimentError, ValueError):
    """An option, a configuration value or a user's file that cannot be used."""

    exit_code = 2


class Damaged(ExperimentError):
    """A file of ours that is truncated, altered or unreadable; the message names it."""


class Diverged(ExperimentError):
    """A metric became NaN or infinite; the last good checkpoint stays."""


class MissingExtra(ExperimentError, ImportError):
    """An optional package is not installed; the message holds the command that adds it."""

    exit_code = 2


class TaskFailed(ExperimentError):
    """One or more tasks did not finish; the others did and are kept."""


class Interrupted(ExperimentError):
    """The run was asked to stop (Ctrl-C, SIGTERM, pre-emption) and has saved its state."""

    exit_code = 130


def require(holds: bool, name: str, value: object, allowed: str) -> None:
    """Refuse the value of a configuration field: BadInput names it as the command line does.

    >>> require(0 < 3 < 1, "train_share", 3, "between 0 and 1")
    Traceback (most recent call last):
    shared.experiment.errors.BadInput: train-share must be between 0 and 1; got 3.
    """
    if not holds:
        raise BadInput(f"{name.replace('_', '-')} must be {allowed}; got {value}.")
