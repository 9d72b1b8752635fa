"""The whole loop on a simulated market: events, profiles, decisions, outcomes and learning in a real workspace."""

from __future__ import annotations

import pytest

from tests.stores import ON_POSTGRESQL
from vitrina.core.clock import HOUR, SimulatedClock
from vitrina.core.errors import ConflictError
from vitrina.gym.demo import MONDAY, run_demo
from vitrina.gym.market import Market
from vitrina.gym.visits import CALLER, Visits, furnish
from vitrina.workspace import init
from vitrina.workspace import open as open_workspace


def prepare(folder, seed=1):
    init(folder, name="Gym", currency="EUR").close()
    settings = folder / "vitrina.toml"
    settings.write_text(settings.read_text().replace("# seed = 0", f"seed = {seed}"))


def opened(folder, clock):
    workspace = open_workspace(folder, clock=clock, simulated=True, threaded=False)
    workspace.claim()
    return workspace


def test_the_loop_learns_and_beats_uniform(tmp_path):
    """2,400 visits of 300 people, judged on the last half.

    Were the decisions no better than uniform, the share would be 0 with a standard error of a quarter of the interval's
    width (about .03 for 300 people); five of them are asked for, which chance passes once in three million.
    """
    prepare(tmp_path / "shop")
    clock, market = SimulatedClock(MONDAY + 8 * HOUR), Market(1, people=300)
    with opened(tmp_path / "shop", clock) as workspace:
        furnish(workspace, market)
        shop = Visits(workspace, market, clock, seed=1)
        shop.run(2_400)
        score = shop.score(last=0.5)
        assert (score.high - score.low) / 3.92 < 0.05
        assert score.share > 5 * (score.high - score.low) / 3.92
        assert workspace.learner.skipped == 0
        weights = workspace.learner.weights("home")
        assert weights["click"] == pytest.approx(shop.tally.decisions, rel=0.05)
        assert weights["buy"] == pytest.approx(shop.tally.clicks, rel=0.1)
        assert workspace.dead_letters() == 0


def run_in_parts(folder, parts, reopen):
    """The same visits; between the parts the workspace is closed and opened, or not."""
    prepare(folder)
    clock, market = SimulatedClock(MONDAY + 8 * HOUR), Market(2, people=50)
    workspace = opened(folder, clock)
    furnish(workspace, market)
    shop = Visits(workspace, market, clock, seed=3)
    for _ in range(parts):
        shop.run(60, 1.0)
        if reopen:
            workspace.close()
            workspace = opened(folder, clock)
            shop.move_to(workspace)
    rows = [row for _, row in workspace.decisions.read(0, 10_000)]
    state = workspace.learner.state_hash()
    workspace.close()
    return [(row.at, row.items, row.probabilities, row.bank) for row in rows], state


def test_the_same_seed_gives_the_same_shop(tmp_path):
    assert run_in_parts(tmp_path / "one", 2, False) == run_in_parts(tmp_path / "two", 2, False)


def test_the_learner_goes_on_after_a_restart_as_if_nothing_had_happened(tmp_path):
    """Decisions after a restart are drawn afresh, so only what was learned from the same decisions is compared."""
    kept, state = run_in_parts(tmp_path / "one", 1, False)
    again, resumed = run_in_parts(tmp_path / "two", 1, True)
    assert kept == again
    assert state == resumed


def test_the_demo_says_six_lines_and_leaves_a_marked_workspace(tmp_path):
    told = []
    lines = run_demo(tmp_path / "demo", seed=5, visits=200, progress=lambda done, total: told.append((done, total)))
    assert len(lines.__struct_fields__) == 6
    assert told[-1] == (200, 200)
    assert "nothing here is real" in lines.simulated
    assert all("EUR" in getattr(lines, name) for name in ("earned", "at_random", "as_decided", "at_best"))
    with open_workspace(tmp_path / "demo") as workspace:
        assert workspace.simulated
        assert workspace.learner.current("home").number > 1
        row = workspace.decisions.read(0, 1)[0][1]
        assert workspace.explain(row.id).difference == pytest.approx(0, abs=1e-9)
    if ON_POSTGRESQL:
        with pytest.raises(ConflictError, match="lies in a database"):
            run_demo(tmp_path / "demo", seed=5, visits=20)
    else:
        run_demo(tmp_path / "demo", seed=5, visits=20)


def test_the_demo_never_replaces_a_real_workspace(tmp_path):
    prepare(tmp_path / "real")
    with pytest.raises(ConflictError, match="isn't a demo"):
        run_demo(tmp_path / "real", visits=20)
    assert (tmp_path / "real" / "vitrina.toml").exists()


def test_a_caller_of_the_gym_has_no_more_rights_than_a_server():
    assert CALLER.kind == "secret"
    assert CALLER.scopes == {"decide"}
