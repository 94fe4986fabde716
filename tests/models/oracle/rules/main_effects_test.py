"""models/oracle/rules/main_effects.py: the rule `main_effects`."""

import numpy as np

from models.oracle.multinomial import Multinomial


def test_main_effects_are_the_ridge_regression_of_rank_utilities():
    generator = np.random.default_rng(1)
    multinomial = Multinomial([("x", range(3)), ("y", range(2))], "main_effects", warmup_rounds=0)
    epochs = {(name, op): 0 for name, size in (("x", 3), ("y", 2)) for op in range(size)}
    rows, trained, scores = [], [], []
    for step in range(300):
        sample = multinomial.sample(step)
        counts = [epochs[item] for item in sample.items()]
        trained.append([np.mean(np.log1p(counts)), np.mean([1 / (1 + count) for count in counts])])
        rows.append([float(sample["x"] == op) for op in range(3)] + [float(sample["y"] == op) for op in range(2)])
        scores.append(sample["x"] - sample["y"] + generator.normal())
        for item in sample.items():
            epochs[item] += 1
        multinomial.observe(sample, scores[-1])
    trained = (np.array(trained) - np.mean(trained, axis=0)) / np.std(trained, axis=0)
    design = np.hstack([rows, trained])
    rank = np.argsort(np.argsort(-np.array(scores)))
    utility = -np.log((rank + 0.5) / 300)
    utility -= utility.mean()
    effects = np.linalg.solve(design.T @ design + np.diag([3.0] * 5 + [0.1] * 2), design.T @ utility)
    assert multinomial.argmax() == {"x": int(effects[:3].argmax()), "y": int(effects[3:5].argmax())}
    found = multinomial.rule._mean
    np.testing.assert_allclose([*found[0], *found[1, :2]], effects[:5], atol=1e-9)
