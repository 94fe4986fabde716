import keras_tuner
import numpy as np

from benchmarks.search_quality import baselines


def gaussian_process():
    hyperparameters = keras_tuner.HyperParameters()
    for choice in range(4):
        hyperparameters.Choice(f"choice_{choice}", [0, 1, 2])
    return baselines.GaussianProcess(keras_tuner.Objective("accuracy", "max"), 40, 1, hyperparameters)


def test_gaussian_process_predicts_the_whole_space_as_scikit_learn_does():
    oracle = gaussian_process()
    generator = np.random.default_rng(0)
    kernels = []
    for _ in range(40):
        architecture = oracle.propose()
        oracle.tell(architecture, float(architecture @ [3.0, 1.0, 0.0, 2.0] + generator.normal()))
        if len(oracle._scores) >= 6:
            process = oracle._fit()
            kernels.append(process.kernel_)
            means, deviations = oracle._whole.predict(process)
            features = oracle._one_hot(oracle._whole.architectures)
            expected_means, expected_deviations = process.predict(features, return_std=True)
            np.testing.assert_allclose(means, expected_means, atol=1e-8)
            np.testing.assert_allclose(deviations, expected_deviations, atol=1e-8)
    # Rows were added under a kernel as well as anew under another.
    assert 1 < len({str(kernel) for kernel in kernels}) < len(kernels)
    assert len(np.unique(oracle._architectures[6:], axis=0)) == 34


def test_gaussian_process_looks_at_candidates_where_the_space_is_large(monkeypatch):
    monkeypatch.setattr(baselines, "_WHOLE", 80)
    oracle = gaussian_process()
    for _ in range(30):
        architecture = oracle.propose()
        oracle.tell(architecture, float(architecture @ [3.0, 1.0, 0.0, 2.0]))
    assert max(oracle._scores) == 12.0
    assert len(np.unique(oracle._architectures[6:], axis=0)) == 24
