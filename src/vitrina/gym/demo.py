"""The demo: a simulated shop goes through the whole loop, and what the decisions were worth is said in money."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from vitrina.core import config
from vitrina.core.clock import DAY, HOUR, SimulatedClock
from vitrina.core.errors import ConflictError
from vitrina.core.money import Money
from vitrina.gym.market import CURRENCY, Market
from vitrina.gym.score import Score
from vitrina.gym.visits import Tally, Visits, furnish
from vitrina.workspace import Workspace, init
from vitrina.workspace import open as open_workspace

__all__ = ["DemoSummary", "run_demo"]

DAYS = 14
VISITS = 8_000
MARK = "simulated"
MONDAY = 20_486 * DAY  # 2 February 2026


class DemoSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Six lines about the simulated fortnight."""

    simulated: str
    earned: str
    measured_gain: str
    at_random: str
    as_decided: str
    at_best: str


def run_demo(
    folder: Path, *, seed: int = 1, visits: int = VISITS, progress: Callable[[int, int], None] | None = None
) -> DemoSummary:
    """Make a workspace in `folder`, let a simulated shop run in it for a fortnight, and sum up.

    Args:
        folder: replaced if it holds an earlier demo.
        seed: the same seed gives the same shop, visitors and decisions.
        progress: called with visits done and visits in all.

    Raises:
        ConflictError: the folder holds something that isn't a demo.
    """
    _clear(folder)
    _settle_in(folder, seed)
    clock = SimulatedClock(MONDAY + 8 * HOUR)
    market = Market(seed)
    with open_workspace(folder, clock=clock, simulated=True) as workspace:
        workspace.claim()
        furnish(workspace, market)
        shop = Visits(workspace, market, clock, seed=seed)
        shop.run(visits, DAYS, progress)
        shop.settle()
        workspace.drain()
        return _sum_up(workspace, market, shop)


def _clear(folder: Path) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MARK).exists():
        raise ConflictError(
            "this folder holds something that isn't a demo.",
            code="demo.folder",
            where=str(folder),
            cure="Name another folder.",
        )
    settings, _ = config.load(folder / "vitrina.toml")
    if settings.storage.url:
        raise ConflictError(
            "the store of the demo that is here lies in a database, which a new demo does not empty.",
            code="demo.store",
            where=str(folder),
            cure="Name another folder, or unset VITRINA_STORAGE_URL.",
        )
    shutil.rmtree(folder)


def _settle_in(folder: Path, seed: int) -> None:
    init(folder, name="Simulated shop", currency=CURRENCY).close()
    settings = folder / "vitrina.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("# seed = 0", f"seed = {seed}"), encoding="utf-8")


def _sum_up(workspace: Workspace, market: Market, shop: Visits) -> DemoSummary:
    tally, score = shop.tally, shop.score()
    people = len(market.people)
    return DemoSummary(
        simulated=f"{_count(tally.visits)} visits in {DAYS} days, {_count(people)} people; nothing here is real",
        earned=_earned(tally),
        measured_gain=_measured(workspace, market),
        at_random=f"{_money(score.uniform)} expected of the same visits, had offers been shown at random",
        as_decided=f"{_money(score.policy)} expected as decided: {_share(score)}",
        at_best=f"{_money(score.oracle)} expected if everybody's taste were known from the start",
    )


def _earned(tally: Tally) -> str:
    return (
        f"{_money(tally.margin - tally.refunded)} of margin in {_count(tally.orders)} orders; "
        f"{_money(tally.refunded)} of refunds ({_count(tally.refunds)}) are taken off"
    )


def _measured(workspace: Workspace, market: Market) -> str:
    figure = workspace.read_out(market.placement.id)
    if figure.total is None or figure.low is None or figure.high is None:
        return f"not yet: {figure.refused}"
    return (
        f"{_money(figure.total)} more than without decisions, by the holdout of {_count(figure.people_holdout)} people "
        f"(95 % interval {_money(figure.low)} to {_money(figure.high)})"
    )


def _share(score: Score) -> str:
    return f"{score.share:.0%} of the possible gain ({score.low:.0%} to {score.high:.0%})"


def _money(minor: float) -> str:
    return f"{Money(round(minor), CURRENCY).amount:,} {CURRENCY}"


def _count(number: int) -> str:
    return f"{number:,}"
