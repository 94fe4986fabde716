import gc
import itertools
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.networks import batch_statistics
from models.runtime import tuning
from models.search.path_training import PathTrainer
from models.search_spaces import cell, nasbench201
from models.training.optimizer import SGD
from tests.support.two_choices import CLASSES, PATH, SIDE, TwoChoices


def _trainer(seed=0, extra=0, **options):
    keras.utils.set_random_seed(seed)
    return PathTrainer(TwoChoices(extra), **options)


def _batches(count=3, size=8, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (
            tf.constant(rng.normal(size=(size, SIDE, SIDE, 3)), tf.float32),
            tf.constant(rng.integers(CLASSES, size=size), tf.int32),
        )
        for _ in range(count)
    ]


def _fit_by_tape(supernet, path, batches, optimizer):
    """The same training by a tape and a Keras optimizer that holds the weights of the path only."""
    variables = supernet.path_variables(path)
    optimizer.build(variables)
    for images, labels in batches:
        with tf.GradientTape() as tape:
            logits = supernet(images, path=path, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
    return supernet.get_weights()


def _traced_step(trainer):
    (function,) = trainer._programs[tuple(sorted(PATH.items()))]._traced.values()
    return function


def _assert_all_close(actual, expected, tolerance=1e-5):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("clip", [0.05, None])
def test_training_is_that_of_keras_sgd_on_the_sampled_path(clip):
    trainer = _trainer(momentum=0.9, weight_decay=0.0, gradient_clip=clip)
    trainer.train_epoch(PATH, _batches(), learning_rate=0.1)
    keras.utils.set_random_seed(0)
    expected = _fit_by_tape(
        TwoChoices(), PATH, _batches(), keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=clip)
    )
    _assert_all_close(trainer.supernet.get_weights(), expected)


def test_training_is_that_of_our_sgd_with_decay_while_the_learning_rate_changes():
    trainer = _trainer(momentum=0.9, weight_decay=0.1, gradient_clip=0.5)
    optimizer = SGD(0.1, momentum=0.9, weight_decay=0.1, global_clipnorm=0.5)
    keras.utils.set_random_seed(0)
    other = TwoChoices()
    for epoch, rate in enumerate((0.1, 0.03)):
        trainer.train_epoch(PATH, _batches(seed=epoch), learning_rate=rate)
        optimizer.learning_rate = rate
        expected = _fit_by_tape(other, PATH, _batches(seed=epoch), optimizer)
    _assert_all_close(trainer.supernet.get_weights(), expected)


def test_plain_and_tuned_kernels_train_alike():
    results = []
    for tuned in (True, False):
        tuning.set_tuned(tuned)
        try:
            trainer = _trainer()
            metrics = trainer.train_epoch(PATH, _batches(), 0.1)
        finally:
            tuning.set_tuned(True)
        results.append([*trainer.supernet.get_weights(), metrics["loss"]])
    _assert_all_close(*results)


def test_weights_and_momentum_outside_of_the_path_do_not_move():
    trainer = _trainer(weight_decay=0.1)
    trainer.train_epoch({"first": "conv", "second": "conv"}, _batches(), 0.1)
    before = trainer.state()
    used = {id(v) for v in trainer.supernet.path_variables(PATH)}
    trainer.train_epoch(PATH, _batches(), 0.1)
    after = trainer.state()
    for i, variable in enumerate(trainer.supernet.trainable_variables):
        same = np.array_equal(before[f"momentum/{i:05d}"], after[f"momentum/{i:05d}"])
        assert same == (id(variable) not in used), variable.path
    weights = dict(zip((id(v) for v in trainer.supernet.variables), itertools.count(), strict=False))
    for variable in trainer.supernet.trainable_variables:
        key = f"weights/{weights[id(variable)]:05d}"
        assert np.array_equal(before[key], after[key]) == (id(variable) not in used), variable.path


def test_weights_cut_off_by_none_do_not_move():
    trainer = _trainer(weight_decay=0.1)
    before = [v.numpy() for v in trainer.supernet.stem.trainable_variables]
    head = trainer.supernet.head.get_weights()
    trainer.train_epoch({"first": "wide", "second": "none"}, _batches(), 0.1)
    for a, b in zip(before, trainer.supernet.stem.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(head[1], trainer.supernet.head.get_weights()[1])


def test_evaluation_is_right_and_changes_nothing():
    trainer = _trainer()
    before = trainer.state()
    batches = [*_batches(2, size=8), *_batches(1, size=5, seed=1)]
    norm_batches = _batches(1, size=16, seed=2)
    metrics = trainer.evaluate(PATH, batches, norm_batches)
    with batch_statistics.recorded() as statistics:
        trainer.supernet(norm_batches[0][0], path=PATH)
    losses, right = [], []
    for images, labels in batches:
        with batch_statistics.fixed(statistics):
            logits = trainer.supernet(images, path=PATH)
        losses.extend(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True).numpy())
        right.extend(np.argmax(logits, axis=-1) == labels.numpy())
    assert metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(np.mean(right))
    for name, value in trainer.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_the_same_seed_trains_the_same_bit_for_bit():
    results = []
    for _ in range(2):
        trainer = _trainer()
        metrics = [trainer.train_epoch(PATH, _batches(), 0.1), trainer.evaluate(PATH, _batches(), _batches())]
        results.append((metrics, trainer.supernet.get_weights()))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_learns():
    trainer = _trainer()
    losses = [trainer.train_epoch(PATH, _batches(), 0.1)["loss"] for _ in range(15)]
    assert losses[-1] < 0.5 * losses[0]


def test_programs_are_kept_by_least_recent_use_and_a_repeat_is_not_traced():
    trainer = _trainer(cache_size=2)
    traced = []
    call = trainer.supernet.call

    def counting(images, path, training=False):
        traced.append(path["first"])
        return call(images, path=path, training=training)

    trainer.supernet.call = counting
    paths = {name: {"first": name, "second": "conv"} for name in ("wide", "dilated", "conv")}
    for name in ("wide", "dilated", "wide", "conv", "wide", "dilated"):
        trainer.train_epoch(paths[name], _batches(2), 0.1)
    assert list(dict.fromkeys(traced[:1])) == ["wide"]
    # "dilated" was used longest ago when "conv" came, so it alone is traced twice.
    assert [name for name, _ in itertools.groupby(traced)] == ["wide", "dilated", "conv", "dilated"]


def test_a_dropped_program_leaves_no_graph_behind():
    trainer = _trainer(cache_size=1)
    trainer.train_epoch(PATH, _batches(1), 0.1)
    graph = weakref.ref(_traced_step(trainer).graph)
    trainer.train_epoch({"first": "conv", "second": "conv"}, _batches(1), 0.1)
    gc.collect()
    assert graph() is None


def test_rollback_undoes_an_epoch():
    trainer = _trainer()
    trainer.train_epoch(PATH, _batches(), 0.1)
    before, snapshot = trainer.state(), trainer.snapshot(PATH)
    trainer.train_epoch(PATH, _batches(), 0.1)
    trainer.rollback(snapshot)
    for name, value in trainer.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_restored_state_goes_on_as_if_nothing_had_happened():
    first = _trainer()
    first.train_epoch(PATH, _batches(), 0.1)
    state = first.state()
    first.train_epoch(PATH, _batches(), 0.1)
    second = _trainer(seed=7)
    second.restore(state)
    second.train_epoch(PATH, _batches(), 0.1)
    for name, value in first.state().items():
        np.testing.assert_array_equal(second.state()[name], value)


def test_a_state_of_another_supernet_is_refused():
    with pytest.raises(ValueError, match="another search space or size"):
        _trainer(extra=1).restore(_trainer().state())
    state = _trainer().state()
    state["weights/00000"] = state["weights/00000"][..., :1]
    with pytest.raises(ValueError, match="weights/00000 has shape"):
        _trainer().restore(state)


def test_a_loss_that_is_not_finite_ends_the_epoch_and_is_returned():
    batches = _batches(6)
    batches[1] = (batches[1][0] * float("nan"), batches[1][1])
    seen = []
    metrics = _trainer().train_epoch(PATH, batches, 0.1, progress=lambda *step: seen.append(step))
    assert not np.isfinite(metrics["loss"])
    assert [step[:2] for step in seen] == [(1, 6), (2, 6), (3, 6)]
    assert np.isfinite(seen[0][2]) and not np.isfinite(seen[1][2])


def test_no_batches_is_an_error():
    with pytest.raises(ValueError, match="no batch"):
        _trainer().train_epoch(PATH, [], 0.1)


def test_more_operations_in_the_space_leave_the_traced_step_the_same():
    def operations(extra):
        trainer = _trainer(extra=extra)
        trainer.train_epoch(PATH, _batches(1), 0.1)
        return [operation.type for operation in _traced_step(trainer).graph.get_operations()]

    assert operations(0) == operations(8)


@pytest.fixture
def half():
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


def test_float16_skips_steps_that_overflow_and_lowers_its_loss_scale(half):
    trainer = _trainer()
    assert trainer.supernet.stem.layers[0].compute_dtype == "float16"
    trainer.loss_scale.assign(2.0**40)
    before = trainer.state()
    trainer.train_epoch(PATH, _batches(1), 0.1)
    after = trainer.state()
    assert after.pop("loss_scale/value") == 2.0**39
    for name in after:
        if name.startswith("momentum"):
            np.testing.assert_array_equal(after[name], before[name])
    trainer.loss_scale.assign(2.0**10)
    losses = [trainer.train_epoch(PATH, _batches(), 0.1)["loss"] for _ in range(15)]
    assert losses[-1] < 0.5 * losses[0]
    assert trainer.loss_scale.numpy() == 2.0**10
    trainer.steps_at_scale.assign(1999)
    trainer.train_epoch(PATH, _batches(1), 0.1)
    assert trainer.loss_scale.numpy() == 2.0**11


def test_a_sampled_path_of_the_cell_space_trains_and_evaluates():
    space = cell.create()
    keras.utils.set_random_seed(0)
    supernet = space.supernet((SIDE, SIDE, 3), CLASSES, channels=4, cells=3)
    path = {choice.name: choice.operations[i % len(choice.operations)] for i, choice in enumerate(space.choices)}
    trainer = PathTrainer(supernet)
    used = supernet.path_variables(path)
    before = [v.numpy() for v in used]
    metrics = trainer.train_epoch(path, _batches(), 0.05)
    assert np.isfinite(metrics["loss"])
    moved = [not np.array_equal(a, b) for a, b in zip(before, used, strict=True)]
    assert all(moved)
    assert 0 <= trainer.evaluate(path, _batches(), _batches())["accuracy"] <= 1


def test_a_path_whose_output_is_cut_off_trains_the_classifier_alone_and_is_validated():
    space = nasbench201.create()
    supernet = space.supernet((4, 4, 3), CLASSES, channels=2, cells=1)
    supernet.head.classifier.bias.assign(np.arange(CLASSES))
    before = [variable.numpy() for variable in supernet.trainable_variables]
    path = {choice.name: "none" for choice in space.choices}
    batches = [(tf.zeros((8, 4, 4, 3)), tf.constant([0, CLASSES - 1] * 4))]
    trainer = PathTrainer(supernet)
    assert np.isfinite(trainer.train_epoch(path, batches, learning_rate=0.1)["loss"])
    moved = [
        variable.path
        for variable, value in zip(supernet.trainable_variables, before, strict=True)
        if np.any(variable.numpy() != value)
    ]
    assert moved and all("head" in name for name in moved)
    assert trainer.evaluate(path, batches, batches)["accuracy"] == 0.5
