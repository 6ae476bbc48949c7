"""What the gate is worth over several markets: it refuses where nothing is to be found, and not everywhere."""

import pytest

pytestmark = pytest.mark.slow  # a whole build of the default budgets per market

# With seeds 1 to 6 and the edge of the default profile, 4 of 6 pass: 1 and 3 are refused by `deflated_sharpe`, although
# they earn Sharpe ratios above 5 out of sample. A gate that passed all of them would not have been asked a question.
SEEDS = (1, 2, 3, 4, 5, 6)


def verdict(build_pipeline, folder, seed: int, edge: float) -> dict:
    _, workspace = build_pipeline(folder, f"seed={seed}", f"ingest.simulated.edge={edge}")
    return workspace.read_json("data/reports/gate.json")


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_a_market_without_an_edge_never_passes(build_pipeline, tmp_path, seed):
    found = verdict(build_pipeline, tmp_path, seed, 0.0)
    assert not found["passed"]
    assert "deflated_sharpe" in found["failed"]  # the search's best is no better than the best of luck


def test_a_planted_edge_passes_in_at_least_half_of_the_markets(build_pipeline, tmp_path):
    found = [verdict(build_pipeline, tmp_path / str(seed), seed, 1.0) for seed in SEEDS]
    passed = sum(v["passed"] for v in found)
    assert passed >= len(SEEDS) / 2, [v["failed"] for v in found]
