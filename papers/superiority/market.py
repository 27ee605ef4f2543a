"""Which price law a run trades on: one of the paper's assets, or the user's own prices."""

from __future__ import annotations

from dataclasses import dataclass

from papers.superiority.assets import asset as paper_asset
from papers.superiority.config import Config


@dataclass(frozen=True)
class Market:
    """Drift per day and volatility per square root of a day of the log price.

    `drift` and `volatility` are traded on; the held-out pair, of other years, only tests.
    """

    drift: float
    volatility: float
    heldout_drift: float
    heldout_volatility: float


def market(config: Config, asset: int) -> Market:
    """The law of asset 0 ... 10, or with asset -1 that of `config.prices`.

    Raises BadInput, in one sentence, where the asset or the price file cannot be used.
    """
    if asset >= 0:
        a = paper_asset(asset)
        return Market(a.drift, a.volatility, a.early_drift, a.early_volatility)
    from papers.superiority.prices import load_prices

    assert config.prices is not None
    p = load_prices(config.prices, asset=config.price_asset, column=_column(config.price_column))
    return Market(p.drift, p.volatility, p.test_drift, p.test_volatility)


def _column(text: str | None) -> str | int | None:
    return int(text) if text is not None and text.isdigit() else text
