"""The toy recipe with stages that take their time, so that a kill hits them at work."""

import time
from dataclasses import dataclass

from toys import ToyFetch, ToyScore, recipe


@dataclass
class SlowFetch(ToyFetch):
    def run(self, live, parcel):
        time.sleep(0.15)
        return super().run(live, parcel)


@dataclass
class SlowScore(ToyScore):
    def score(self, live):
        time.sleep(0.15)
        return super().score(live)


def slow(folder: str):
    """110 rows in eleven parts of ten."""
    built = recipe([f"{folder}/in/*.txt"], size=5)
    built.score[1:3] = [SlowFetch(name="toy_fetch"), SlowScore(name="toy_score", min=0.2)]
    return built
