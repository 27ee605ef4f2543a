"""Drift and volatility of a price file of the user's own: `--prices FILE.npy` or `FILE.csv`.

Prices are daily, oldest first. The environment needs two numbers, the mean and the standard
deviation (ddof 0) of the daily log price ratio log(p_{d+1} / p_d); they are estimated on the
earlier part of the file (train) and, to compare with, on the later part (test).
A file is data and nothing else: pickled content is refused.
"""

import csv
import difflib
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.experiment.errors import BadInput

MIN_RATIOS = 2  # in each split; a standard deviation of one number says nothing


@dataclass(frozen=True)
class PriceHistory:
    """What a price file says; has the `drift` and `volatility` of an `assets.Asset`.

    Attributes:
        source: the file and the series in it, in words.
        drift, volatility: of the log price, per day and per square root of a day, train split.
        train_ratios: how many daily ratios they come from.
        test_drift, test_volatility, test_ratios: the same of the later part.
    """

    source: str
    drift: float
    volatility: float
    train_ratios: int
    test_drift: float
    test_volatility: float
    test_ratios: int

    def __str__(self) -> str:
        return (
            f"{self.source}: drift {self.drift:.6g}, volatility {self.volatility:.6g} per day "
            f"(first {self.train_ratios} daily ratios); the last {self.test_ratios}: "
            f"drift {self.test_drift:.6g}, volatility {self.test_volatility:.6g}"
        )


def load_prices(
    path: str | Path,
    *,
    asset: int = 0,
    column: str | int | None = None,
    train_fraction: float = 0.7,
) -> PriceHistory:
    """Estimate drift and volatility from a file of daily prices, oldest first.

    Args:
        path: a .npy array of shape (days,), (days, columns) or (assets, days, columns), or a .csv
            file with one header line and one line per day.
        asset: which asset of a three-dimensional array.
        column: which column: an index from 0 or, in a .csv, a name of the header. Needed where
            there is more than one (in a .csv a column of dates does not count).
        train_fraction: share of the daily ratios, from the oldest, that makes the train split.

    Raises:
        BadInput: the file cannot be used; one sentence says why and what would do.
    """
    path = Path(path)
    if not 0 < train_fraction < 1:
        raise BadInput(f"train_fraction must be between 0 and 1, not {train_fraction}.")
    if path.suffix.lower() not in (".npy", ".csv"):
        raise BadInput(f"A price file must be a .npy or .csv file; {path} is neither.")
    if not path.is_file():
        raise BadInput(f"There is no price file {path}.")
    try:
        if path.suffix.lower() == ".npy":
            prices, label = _read_npy(path, asset, column)
        else:
            prices, label = _read_csv(path, asset, column)
    except OSError as error:
        raise BadInput(f"The price file {path} cannot be read: {error.strerror}.") from error
    return _estimate(prices, f"{path.name}{label}", train_fraction)


def _read_npy(path: Path, asset: int, column: str | int | None) -> tuple[NDArray[np.float64], str]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        if "pickle" in str(error) or "Object" in str(error):
            raise BadInput(
                f"{path} holds Python objects, which are never unpickled here; "
                "save the prices as an array of numbers."
            ) from error
        raise BadInput(f"{path} is not a NumPy array file, or it is cut off.") from error
    if not isinstance(array, np.ndarray):
        raise BadInput(f"{path} is an archive of arrays; save one array with numpy.save.")
    if array.dtype.kind not in "iuf":
        raise BadInput(f"{path} must hold real numbers, not values of type {array.dtype}.")
    if not 1 <= array.ndim <= 3:
        raise BadInput(
            f"{path} has shape {array.shape}; allowed are (days,), (days, columns) and "
            "(assets, days, columns)."
        )
    label = ""
    if array.ndim < 3:
        array = array.reshape(1, len(array), -1) if array.size else array.reshape(1, 0, 1)
    else:
        label = f", asset {asset}"
    if not 0 <= asset < len(array):
        raise BadInput(f"{path} has no asset {asset}; {_range(len(array), 'asset')}.")
    columns = array.shape[2]
    index = _column_index(path, column, [], list(range(columns)), columns)
    return array[asset, :, index].astype(np.float64), label + _say(columns, str(index))


def _read_csv(path: Path, asset: int, column: str | int | None) -> tuple[NDArray[np.float64], str]:
    if asset != 0:
        raise BadInput(f"{path} has no asset {asset}; a .csv file holds asset 0 only.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(n, row) for n, row in enumerate(csv.reader(file), 1) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is not a CSV text file in UTF-8.") from error
    if len(rows) < 2:
        raise BadInput(f"{path} needs a header line and at least one line of prices per day.")
    header = [name.strip() for name in rows[0][1]]
    if all(_number(name) is not None for name in header):
        raise BadInput(f"The first line of {path} must name the columns; it holds only numbers.")
    _check_oldest_first(path, header, rows)
    numeric = [i for i in range(len(header)) if _number(_cell(rows[1][1], i)) is not None]
    index = _column_index(path, column, header, numeric, len(header))
    prices = np.empty(len(rows) - 1)
    for i, (line, row) in enumerate(rows[1:]):
        value = _number(_cell(row, index))
        if value is None:
            raise BadInput(
                f"Line {line} of {path} has {_cell(row, index)!r} in column {header[index]!r}, "
                "where a number must be."
            )
        prices[i] = value
    return prices, _say(len(header), repr(header[index]))


def _column_index(
    path: Path, column: str | int | None, header: list[str], numeric: list[int], count: int
) -> int:
    """The chosen column; without a choice, the only one that can hold prices."""
    if column is None:
        if len(numeric) == 1:
            return numeric[0]
        names = f" ({', '.join(map(repr, header))})" if header else ""
        raise BadInput(
            f"{path} has {count} columns{names}; say which one holds the prices: "
            f"{_range(count, 'column')}."
        )
    if isinstance(column, str) and column in header:
        return header.index(column)
    if isinstance(column, int) or column.lstrip("-").isdecimal():
        if 0 <= int(column) < count:
            return int(column)
        raise BadInput(f"{path} has no column {column}; {_range(count, 'column')}.")
    if not header:
        raise BadInput(
            f"Columns of {path} have no names; choose by index, not {column!r}: "
            f"{_range(count, 'column')}."
        )
    folded = {name.casefold(): name for name in header}
    near = difflib.get_close_matches(column.casefold(), folded, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(folded[n]) for n in near)}" if near else ""
    listed = hint or f"it has {', '.join(map(repr, header))}"
    raise BadInput(f"{path} has no column {column!r}; {listed}.")


def _check_oldest_first(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> None:
    """Refuse a file whose dates run backwards: it would turn the sign of the drift."""
    for index, name in enumerate(header):
        if name.casefold() == "date":
            try:
                ends = [
                    date.fromisoformat(_cell(row, index)[:10]) for _, row in (rows[1], rows[-1])
                ]
            except ValueError:
                return
            if ends[0] > ends[1]:
                raise BadInput(
                    f"{path} runs from {ends[0]} back to {ends[1]}; sort it oldest day first."
                )


def _estimate(prices: NDArray[np.float64], source: str, train_fraction: float) -> PriceHistory:
    """Mean and standard deviation of the daily log price ratio, of both splits."""
    for wrong, what in ((~np.isfinite(prices), "finite"), (prices <= 0, "positive")):
        if wrong.any():
            day = int(np.argmax(wrong))
            raise BadInput(f"Prices must be {what}; day {day} of {source} has {prices[day]}.")
    ratios = np.diff(np.log(prices))
    split = round(train_fraction * len(ratios))
    if min(split, len(ratios) - split) < MIN_RATIOS:
        raise BadInput(
            f"{source} has {len(prices)} days: too few to split at train_fraction = "
            f"{train_fraction} with at least {MIN_RATIOS} daily price ratios on either side."
        )
    train, test = ratios[:split], ratios[split:]
    if train.std() < 1e-12:
        raise BadInput(f"The price of {source} grows at a constant rate: nothing to trade on.")
    return PriceHistory(
        source, float(train.mean()), float(train.std()), len(train),
        float(test.mean()), float(test.std()), len(test),
    )  # fmt: skip


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return math.nan if not text.strip() else None


def _cell(row: list[str], index: int) -> str:
    return row[index].strip() if index < len(row) else ""


def _range(count: int, what: str) -> str:
    return f"{what}s are 0 to {count - 1}" if count > 1 else f"the only {what} is 0"


def _say(columns: int, name: str) -> str:
    return f", column {name}" if columns > 1 else ""
