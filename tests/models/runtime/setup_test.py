import gc

import keras
import numpy as np
import pytest

from models.runtime import setup


@pytest.fixture(autouse=True)
def restored():
    yield
    keras.mixed_precision.set_global_policy("float32")
    gc.unfreeze()


def test_the_seed_makes_weights_and_random_numbers_the_same_again():
    drawn = []
    for _ in range(2):
        setup.set_up(seed=3, deterministic=False, tuned_kernels=True)
        dense = keras.layers.Dense(4)
        dense.build((None, 4))
        drawn.append((dense.kernel.numpy(), np.random.normal()))
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    assert drawn[0][1] == drawn[1][1]


@pytest.mark.parametrize(("asked", "policy"), [("", "float32"), ("bfloat16", "mixed_bfloat16")])
def test_mixed_precision_is_the_policy_of_new_layers(asked, policy):
    setup.set_up(seed=0, deterministic=False, tuned_kernels=True, mixed_precision=asked)
    assert keras.layers.Dense(1).dtype_policy.name == policy


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="mixed_precision: found 'int8'; expected '', 'bfloat16' or 'float16'"):
        setup.set_up(seed=0, deterministic=False, tuned_kernels=True, mixed_precision="int8")


def test_modules_are_left_out_of_garbage_collections():
    before = len(gc.get_objects())
    setup.set_up(seed=0, deterministic=False, tuned_kernels=True)
    # Objects that are frozen are not listed.
    assert len(gc.get_objects()) < before / 10


def test_xla_is_not_used_without_a_gpu():
    assert setup.use_xla(True) is False
    assert setup.use_xla(False) is False
