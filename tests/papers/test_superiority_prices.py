"""Price files: what is estimated from them, and one sentence for each way they can be wrong."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papers.superiority.oracle import optimal_stopping
from papers.superiority.prices import load_prices
from shared.experiment.errors import BadInput

# Log ratios +.1, -.1, +.1, +.1 | 0, .2: train mean .05, std sqrt(.0075); test mean .1, std .1.
PRICES = np.exp(np.cumsum([0.0, 0.1, -0.1, 0.1, 0.1, 0.0, 0.2]))


def save(tmp_path, array, name="prices.npy"):
    path = tmp_path / name
    np.save(path, array)
    return path


def write(tmp_path, text, name="prices.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def csv_of(prices, column="Close"):
    days = "".join(f"2020-01-{i + 1:02},{p!r},{i}\n" for i, p in enumerate(map(float, prices)))
    return f"Date,{column},Volume\n{days}"


def check(history):
    assert history.drift == pytest.approx(0.05)
    assert history.volatility == pytest.approx(math.sqrt(0.0075))
    assert (history.train_ratios, history.test_ratios) == (4, 2)
    assert history.test_drift == pytest.approx(0.1)
    assert history.test_volatility == pytest.approx(0.1)


def test_numbers_by_hand_in_every_layout(tmp_path):
    table = np.stack([np.full(7, 3.0), PRICES], axis=1)
    cube = np.stack([np.ones((7, 2)), table])
    fraction = {"train_fraction": 2 / 3}
    check(load_prices(save(tmp_path, PRICES), **fraction))
    check(load_prices(save(tmp_path, PRICES[:, None]), **fraction))
    check(load_prices(save(tmp_path, table), column=1, **fraction))
    check(load_prices(save(tmp_path, table), column="1", **fraction))
    check(load_prices(save(tmp_path, cube), asset=1, column=1, **fraction))
    check(load_prices(write(tmp_path, csv_of(PRICES)), column="Close", **fraction))
    check(load_prices(write(tmp_path, csv_of(PRICES)), column=1, **fraction))
    only = "day,price\n" + "".join(f"day {i},{float(p)!r}\n" for i, p in enumerate(PRICES))
    check(load_prices(write(tmp_path, only), **fraction))
    check(load_prices(str(write(tmp_path, "\ufeff" + only + "\n\n")), **fraction))


def test_it_says_what_it_used(tmp_path):
    text = str(load_prices(write(tmp_path, csv_of(PRICES)), column="Close", train_fraction=2 / 3))
    assert text == (
        "prices.csv, column 'Close': drift 0.05, volatility 0.0866025 per day (first 4 daily "
        "ratios); the last 2: drift 0.1, volatility 0.1"
    )


def test_a_header_name_wins_over_an_index(tmp_path):
    path = write(tmp_path, csv_of(PRICES, column="2"))
    check(load_prices(path, column="2", train_fraction=2 / 3))


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.integers(10, 60), st.integers(0, 2**32 - 1))
def test_scale_invariance_and_the_sum_of_ratios(tmp_path_factory, log_scale, days, seed):
    folder = tmp_path_factory.mktemp("prices")
    prices = np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, days)))
    one = load_prices(save(folder, prices))
    other = load_prices(save(folder, prices * math.exp(log_scale)))
    assert other.drift == pytest.approx(one.drift, abs=1e-12)
    assert other.volatility == pytest.approx(one.volatility, abs=1e-12)
    total = one.drift * one.train_ratios + one.test_drift * one.test_ratios
    assert total == pytest.approx(math.log(prices[-1] / prices[0]), abs=1e-10)


def test_the_estimate_feeds_the_oracle(tmp_path):
    prices = np.exp(np.cumsum(np.random.default_rng(0).normal(0.001, 0.015, 3000)))
    history = load_prices(save(tmp_path, prices))
    assert history.volatility == pytest.approx(0.015, rel=0.05)
    value, _ = optimal_stopping(
        history.drift, history.volatility, horizon=50, frequency=1, gamma=0.999, n_grid=300
    )
    assert 0.015 < value < 0.045


def with_value(value):
    prices = PRICES.copy()
    prices[4] = value
    return prices


@pytest.mark.parametrize(
    ("array", "options", "sentence"),
    [
        (with_value(np.nan), {}, "must be finite; day 4 of prices.npy has nan"),
        (with_value(np.inf), {}, "must be finite; day 4 of prices.npy has inf"),
        (with_value(0.0), {}, "must be positive; day 4 of prices.npy has 0.0"),
        (with_value(-2.0), {}, "must be positive; day 4 of prices.npy has -2.0"),
        (PRICES[:3], {}, "has 3 days: too few to split"),
        (PRICES[:0], {}, "has 0 days: too few"),
        (PRICES, {"train_fraction": 0.95}, "too few to split at train_fraction = 0.95"),
        (PRICES, {"train_fraction": 1.0}, "train_fraction must be between 0 and 1, not 1.0"),
        (np.ones(50), {}, "grows at a constant rate"),
        (PRICES, {"asset": 1}, "has no asset 1; the only asset is 0"),
        (np.ones((3, 9, 2)), {"asset": 3}, "has no asset 3; assets are 0 to 2"),
        (np.ones((3, 9, 2)), {"asset": -1}, "has no asset -1"),
        (np.ones((9, 2)), {}, "has 2 columns; say which one holds the prices: columns are 0 to 1"),
        (np.ones((9, 2)), {"column": 2}, "has no column 2; columns are 0 to 1"),
        (np.ones((9, 2)), {"column": "-1"}, "has no column -1; columns are 0 to 1"),
        (np.ones((9, 2)), {"column": "Close"}, "have no names; choose by index, not 'Close'"),
        (np.ones((2, 2, 2, 2)), {}, r"has shape \(2, 2, 2, 2\); allowed are \(days,\)"),
        (np.float64(1.0), {}, r"has shape \(\); allowed are"),
        (np.array(["a", "b"]), {}, "must hold real numbers, not values of type <U1"),
        (PRICES * 1j, {}, "must hold real numbers, not values of type complex128"),
    ],
)
def test_bad_arrays(tmp_path, array, options, sentence):
    with pytest.raises(BadInput, match=sentence):
        load_prices(save(tmp_path, array), **options)


def test_pickles_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return print, ("unpickled",)

    path = tmp_path / "trap.npy"
    np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput, match="holds Python objects, which are never unpickled"):
        load_prices(path)


def test_files_that_are_no_arrays(tmp_path):
    path = tmp_path / "cut.npy"
    path.write_bytes(save(tmp_path, PRICES).read_bytes()[:-3])
    with pytest.raises(BadInput, match="is not a NumPy array file, or it is cut off"):
        load_prices(path)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="is not a NumPy array file, or it is cut off"):
        load_prices(path)
    np.savez(tmp_path / "many.npz", a=PRICES)
    (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    with pytest.raises(BadInput, match="is an archive of arrays"):
        load_prices(tmp_path / "many.npy")
    with pytest.raises(BadInput, match="There is no price file"):
        load_prices(tmp_path / "absent.npy")
    with pytest.raises(BadInput, match=r"must be a \.npy or \.csv file"):
        load_prices(tmp_path / "prices.parquet")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(BadInput, match="There is no price file"):
        load_prices(tmp_path / "folder.csv")


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        (csv_of(PRICES), {"column": "close"}, "no column 'close'; did you mean 'Close'"),
        (csv_of(PRICES), {"column": "xyz"}, "no column 'xyz'; it has 'Date', 'Close', 'Volume'"),
        (csv_of(PRICES), {"column": 3}, "has no column 3; columns are 0 to 2"),
        (csv_of(PRICES), {}, r"has 3 columns \('Date', 'Close', 'Volume'\); say which one"),
        (csv_of(PRICES), {"column": "Date"}, "Line 2 of .* has '2020-01-01' in column 'Date'"),
        (csv_of(PRICES), {"asset": 1}, r"a \.csv file holds asset 0 only"),
        (csv_of(PRICES).replace(repr(float(PRICES[6])), "n/a"), {"column": 1}, "Line 8 .*'n/a'"),
        (csv_of(PRICES).replace(repr(float(PRICES[6])), ""), {"column": 1}, "day 6 .* has nan"),
        ("1.0\n2.0\n3.0\n", {}, "first line of .* must name the columns"),
        ("price\n", {}, "needs a header line and at least one line"),
        ("", {}, "needs a header line"),
        ("Date,p\n2020-01-03,1\n2020-01-02,2\n", {}, "runs from 2020-01-03 back to 2020-01-02"),
    ],
)
def test_bad_csv(tmp_path, text, options, sentence):
    with pytest.raises(BadInput, match=sentence):
        load_prices(write(tmp_path, text), **options)


def test_csv_that_is_not_text(tmp_path):
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00price\x80\n1\n2\n")
    with pytest.raises(BadInput, match="is not a CSV text file in UTF-8"):
        load_prices(path)
