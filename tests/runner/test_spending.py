"""A purse gives no visit what another may still spend, and never more than the cap."""

from curate.runner.budget import SharedBudget
from curate.score.budget import UNLIMITED, Allowance, Spending


def test_shares_of_visits_under_way_stay_within_the_cap():
    purse = SharedBudget(Spending(100.0, UNLIMITED.tokens), {"old": Spending(20.0, 7)})
    shares = []
    while (share := purse.share(("lane", f"p{len(shares)}"), calls=2)) is not None:
        shares.append(share)
        assert sum(s.cost for s in shares) <= 80.0 + 1e-9 and share.tokens == UNLIMITED.tokens
    assert shares[0].cost == 10.0
    purse.settle(("lane", "p0"), "p0", Spending(4.0, 1))
    assert purse.share(("lane", "again"), calls=2).cost > 0
    for n in range(1, len(shares)):
        purse.settle(("lane", f"p{n}"), f"p{n}", shares[n])
    purse.recount(("lane", "again"), "again", Spending(10.0, 0))
    assert purse.share(("lane", "last"), calls=2) == Spending()


def test_an_allowance_asks_one_to_learn_what_it_costs_and_then_what_it_affords():
    allowance = Allowance(Spending(10.0, UNLIMITED.tokens))
    assert allowance.left(0) and not allowance.left(1)
    allowance.count(Spending(2.0, 5))
    assert allowance.left(3) and not allowance.left(4)
    assert Allowance().left(10**6) and not Allowance(Spending()).left(0)
