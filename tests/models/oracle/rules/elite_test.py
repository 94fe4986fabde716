"""models/oracle/rules/elite.py: the rule `elite`."""

import numpy as np

from models.oracle.multinomial import Multinomial


def test_elite_transfer_equals_plain_loops():
    eta, elites, floor = 0.05, 3, 0.1
    options = {"eta": eta, "elites": elites, "floor": floor}
    generator = np.random.default_rng(0)
    multinomial = Multinomial([("x", range(4)), ("y", range(3))], "elite", options)
    p = [[1 / 4] * 4, [1 / 3] * 3]
    seen = []
    for step in range(60):
        sample = multinomial.sample(step)
        new, score = [sample["x"], sample["y"]], round(float(generator.random()), 1)
        best = sorted(seen, key=lambda item: -item[1])[:elites]
        others = [item for item in best if item[0] != new]
        for choice in range(2):
            for old, old_score in others:
                if old_score != score and old[choice] != new[choice]:
                    winner, loser = (old, new) if old_score > score else (new, old)
                    moved = min(eta / len(others), p[choice][loser[choice]])
                    p[choice][loser[choice]] -= moved
                    p[choice][winner[choice]] += moved
            p[choice] = [max(value, floor / len(p[choice])) for value in p[choice]]
            p[choice] = [value / sum(p[choice]) for value in p[choice]]
        seen.append((new, score))
        multinomial.observe(sample, score)
        np.testing.assert_allclose(multinomial.probabilities[0], p[0], atol=1e-12)
        np.testing.assert_allclose(multinomial.probabilities[1, :3], p[1], atol=1e-12)
