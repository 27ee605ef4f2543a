"""The eleven assets of the option-trading experiment, each as drift and volatility per day.

The environment simulates prices from these two numbers and replays no price path. They are the
mean and the standard deviation (ddof 0) of the daily log price ratio in the price file of the
official code, 2005 to 2019: `drift` and `volatility` over its later part, on which the official
code trains *and* evaluates, `early_drift` and `early_volatility` over the earlier part, which it
never uses. Which of the eleven rows the paper averages over is not known.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.experiment.errors import BadInput


@dataclass(frozen=True)
class Asset:
    """Two splits of one price series.

    Attributes:
        index: row of the official price file.
        drift, volatility: mean and standard deviation of the daily log price, train split.
        early_drift, early_volatility: the same over the earlier years.
    """

    index: int
    drift: float
    volatility: float
    early_drift: float
    early_volatility: float


ASSETS: tuple[Asset, ...] = (
    Asset(0, 0.00100887623, 0.0153915823, 0.000896292032, 0.0205515933),
    Asset(1, 0.000929920482, 0.0130733412, 0.000616076964, 0.0230289915),
    Asset(2, 0.000516210959, 0.0116650468, 0.000817899989, 0.0176315354),
    Asset(3, 0.000263214759, 0.0152403237, 0.0000454726122, 0.0263398597),
    Asset(4, 0.000914287396, 0.0125468683, 0.000874101874, 0.0207334041),
    Asset(5, 0.000520444934, 0.0102624119, 0.000408195197, 0.0120827302),
    Asset(6, 0.00106177713, 0.0138188545, 0.000345288959, 0.0185145283),
    Asset(7, 0.000851754100, 0.0164652233, 0.000351941872, 0.0191076668),
    Asset(8, 0.000187846614, 0.0126675833, 0.000330565642, 0.0148748833),
    Asset(9, 0.000370821624, 0.0103309225, 0.000239660150, 0.0108868677),
    Asset(10, 0.000206940262, 0.0111023904, 0.000236289050, 0.0152073248),
)


def asset(index: int) -> Asset:
    """The asset with this index; raises BadInput outside 0 to 10."""
    if not 0 <= index < len(ASSETS):
        raise BadInput(f"There is no asset {index}; the assets are 0 to {len(ASSETS) - 1}.")
    return ASSETS[index]
