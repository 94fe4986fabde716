"""models/planning/rules.py: what is chosen for a budget, without a network and without a clock."""

import itertools

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.planning import plan, rules
from models.planning.costs import Costs, Size
from models.runtime.section import leaves
from models.settings import Settings
from tests.support.planning import LARGE, SMALL, figures

SPECTRUM = {"search": {"objective": "spectrum"}, "oracle": {"rule": "interactions"}}


def settings(*keep, minutes=20.0, **sections) -> Settings:
    return Settings.parse({**SPECTRUM, **sections, "budget": {"minutes": float(minutes), "keep": keep}})


def chosen(minutes, *keep, slow=1.0, figures_=None, **sections) -> rules.Option:
    found = settings(*keep, minutes=minutes, **sections)
    fixed = rules.fixed(found)
    costs = Costs(figures_ or figures(slow))
    batch = rules.batch_size(found, fixed, costs.figures.images)
    return rules.choose(costs, 60 * minutes, rules.sizes(found, fixed), found, fixed, batch)


def test_what_is_planned_are_settings():
    assert set(rules.PLANNED) <= {key for key, _, _ in leaves(Settings())}


def test_more_minutes_give_a_larger_network_and_never_a_smaller_one():
    options = [chosen(minutes) for minutes in (4, 8, 15, 30, 60, 240, 1000)]
    places = [rules.SIZES.index((option.size.cells, option.size.channels)) for option in options]
    assert places == sorted(places) and places[0] < places[3] < places[-1] == len(rules.SIZES) - 1
    assert all(option.length.epochs >= rules.least_epochs(32) for option in options[1:])


@hypothesis.settings(deadline=None, max_examples=40)
@given(st.floats(3, 600), st.floats(0.3, 4))
def test_a_plan_fills_its_time_and_no_more(minutes, slow):
    costs = Costs(figures(slow))
    option = chosen(minutes, slow=slow)
    if not option.length.epochs:
        return
    measured = rules.correction(costs, option.size, option.batch, settings(minutes=minutes))
    seconds = sum(rules.stages(costs, option, settings()).values()) + measured
    assert seconds <= 60 * minutes
    if option.length.epochs < rules.MOST_EPOCHS:
        assert seconds + 1.1 * costs.epoch(option.size, option.batch) > 60 * minutes


@hypothesis.settings(deadline=None, max_examples=40)
@given(st.floats(3, 600))
def test_the_search_has_its_share_or_the_least_epochs_that_are_of_use(minutes):
    costs = Costs(figures())
    option = chosen(minutes)
    least = rules.warmup_epochs(settings()) + rules.LEAST_LEARNING_EPOCHS
    assert least <= option.search_epochs <= rules.MOST_SEARCH_EPOCHS["spectrum"]
    share = costs.search(option.size, option.search_epochs) / (60 * minutes)
    assert share <= rules.SEARCH_SHARE["spectrum"] or (option.search_epochs == least and option.size == SMALL)


def test_a_short_time_goes_to_the_smallest_network_and_a_person_is_warned():
    option = chosen(1.6)
    assert option.size == SMALL and 1 <= option.length.passes < rules.FEW_EPOCHS
    (warning,) = rules.warnings(option)
    assert f"only {option.length.passes:.1f} times" in warning and "config.budget.minutes" in warning
    assert rules.warnings(chosen(30)) == []
    assert chosen(0.5).length.epochs == 0


def test_in_a_short_time_each_epoch_has_a_part_of_the_images():
    """So that the learning rate falls to 0 also in a training that sees each image only once or twice."""
    option = chosen(1.6)
    assert option.length.epochs == rules.FEW_EPOCHS and option.length.images % option.batch == 0
    assert option.length.passes == option.length.epochs * option.length.images / 2000 < rules.FEW_EPOCHS
    choices = rules.choices(option, 32, settings(), frozenset())
    assert (choices["train.epochs"], choices["train.epoch_images"]) == (10, option.length.images)
    assert chosen(30).length.images == 0
    # Far more images than there is time for: hours of work in an epoch of all of them.
    many = chosen(20, figures_=figures(images=1_000_000))
    assert many.length.epochs == rules.FEW_EPOCHS and 0.01 < many.length.passes < 1


def test_the_shortest_training_takes_all_images_or_some_steps():
    costs = {images: Costs(figures(images=images)) for images in (640, 64_000)}
    assert rules.shortest(costs[640], 64, settings(), frozenset()) == 1.0
    assert rules.shortest(costs[64_000], 64, settings(), frozenset()) * 1000 == rules.SHORTEST
    for images, found in costs.items():
        for passes, epochs in ((0.99, 0), (1.0, 10)):
            least = rules.shortest(found, 64, settings(), frozenset())
            assert rules.length(found, passes * least, 64, settings(), frozenset()).epochs == epochs, images


@pytest.mark.parametrize("images", [6, 64, 320, 600, 2000, 1_280_000])
@pytest.mark.parametrize("batch", [8, 64, 512])
def test_no_training_is_longer_than_its_time(images, batch):
    costs = Costs(figures(images=images))
    for passes in (1.0, 1.7, 3.0, 9.9, 10.0, 33.3):
        found = rules.length(costs, passes, batch, settings(), frozenset())
        assert found.epochs >= 1 and found.passes <= passes
        assert found.passes > 0.5 * passes or batch > images
        assert found.passes == found.epochs * (found.images or images) / images


@pytest.mark.parametrize("images, kept", [(64_000, 0), (1_280_000, 0), (1_280_000, 50_000), (64_000, 20_000)])
def test_a_correction_without_time_has_one_epoch_of_the_images_that_are_kept(images, kept):
    found = settings("train.epoch_images", train={"epoch_images": kept, "epochs": 3, "batch_size": 64})
    costs = Costs(figures(images=images))
    option = rules.correct(costs, -100.0, [], found, rules.fixed(found), 0.0)
    assert (option.length.epochs, option.length.images) == (1, kept)


def test_images_of_an_epoch_that_are_kept_are_planned_around():
    kept = {"train": {"epoch_images": 500}}
    option, usual = chosen(20, "train.epoch_images", **kept), chosen(20)
    assert option.length.images == 500 and option.size == usual.size
    assert option.length.passes == pytest.approx(usual.length.passes, abs=1)
    assert option.length.epochs == option.length.passes * 4
    both = chosen(20, "train.epoch_images", "train.epochs", train={"epoch_images": 500, "epochs": 60})
    assert (both.length.epochs, both.length.images, both.length.passes) == (60, 500, 15)
    assert chosen(20, "train.epoch_images", train={"epoch_images": 5000}).length.images == 0  # there are fewer


def test_what_is_kept_is_planned_around():
    train = {"cells": 4, "channels": 20, "epochs": 45, "batch_size": 50, "learning_rate": 0.3}
    assert chosen(20, "train.cells", train=train).size.cells == 4
    assert chosen(20, "train.channels", train=train).size.channels == 20
    assert chosen(20, "train.cells", "train.channels", train=train).size == Size(4, 20)
    assert chosen(20, "train.batch_size", train=train).batch == 50
    assert chosen(20, "search.epochs", search={"objective": "spectrum", "epochs": 33}).search_epochs == 33
    assert chosen(200, "train.epochs", train={"epochs": 700}).length.epochs == 700
    # With more epochs to come a smaller network is taken.
    many, few = (chosen(20, "train.epochs", train={"epochs": epochs}) for epochs in (200, 5))
    assert rules.SIZES.index((many.size.cells, many.size.channels)) < rules.SIZES.index(
        (few.size.cells, few.size.channels)
    )
    for keep in rules.PLANNED:
        found = settings(keep, train=train)
        assert keep not in rules.choices(chosen(20), 32, found, rules.fixed(found))


def test_choices_are_valid_settings_in_every_space():
    for sections in (
        {},
        {"space": {"name": "mobile"}, "train": {"network": "mobile"}},
        {"space": {"name": "nasbench201"}, "train": {"network": "nasbench201"}},
        {"architecture": "darts_v2"},
    ):
        found = settings(**sections)
        fixed = rules.fixed(found)
        choices = rules.choices(chosen(20, **sections), 32, found, fixed)
        applied = plan.apply(choices, found)
        assert applied.train.epochs == choices["train.epochs"]
        assert ("search.epochs" in choices) == (not found.architecture)
        assert ("train.cells" in choices) == (found.space.name != "mobile")
        assert applied.train.warmup_epochs < applied.train.epochs


def test_a_warm_up_that_is_kept_ends_within_the_training():
    found = settings("train.warmup_epochs", train={"warmup_epochs": 12})
    fixed = rules.fixed(found)
    for option, warmup in ((chosen(1.6), 9), (chosen(60), None)):
        assert rules.choices(option, 32, found, fixed).get("train.warmup_epochs") == warmup
        told = " ".join(rules.reasons(option, [SMALL], found, fixed, 32))
        assert ("would not end" in told) == (warmup is not None) != ("config.train.warmup_epochs is kept" in told)


def test_few_images_get_small_batches_and_enough_steps():
    found = settings()
    for images, batch in ((6, 8), (100, 8), (1000, 32), (1400, 64), (100000, 64)):
        assert rules.batch_size(found, frozenset(), images) == batch
    steps = 3
    assert rules.least_epochs(steps) * steps >= rules.LEAST_STEPS
    option = chosen(20, figures_=figures(images=24))
    assert option.length.epochs * steps >= rules.LEAST_STEPS


def test_more_epochs_never_get_less_regularisation_and_no_square_hides_an_image():
    recipes = [rules.recipe(epochs, 64, 32) for epochs in (1, 10, 20, 60, 100, 300, 600)]
    for one, more in itertools.pairwise(recipes):
        for key in ("drop_path", "dropout", "cutout", "label_smoothing", "warmup_epochs"):
            key = f"train.{key}"
            assert one[key] <= more[key]
    assert not any(recipes[1][f"train.{key}"] for key in ("drop_path", "dropout", "cutout", "label_smoothing"))
    for side in (4, 8, 15, 16, 32, 224):
        assert 0 <= rules.recipe(600, 64, side)["train.cutout"] < side
    assert rules.recipe(30, 32, 32)["train.learning_rate"] == rules.recipe(30, 64, 32)["train.learning_rate"] / 2


def corrected(epochs, seconds, *keep, size=SMALL):
    found = plan.apply(
        {"train.epochs": epochs, "train.cells": size.cells, "train.channels": size.channels, "train.batch_size": 64},
        settings(*keep),
    )
    fixed = rules.fixed(found)
    return rules.correct(Costs(figures()), seconds, rules.sizes(settings(), frozenset()), found, fixed, 0.0)


def test_a_correction_fills_the_time_that_is_left_and_keeps_the_size():
    costs = Costs(figures())
    option = corrected(40, 400)
    assert option.size == SMALL and 20 <= option.length.epochs <= 120
    seconds = rules.training(costs, SMALL, 64, option.length.epochs) + costs.evaluation(SMALL) + costs.report(SMALL)
    assert 400 - 1.1 * costs.epoch(SMALL, 64) < seconds <= 400


def test_a_correction_changes_the_size_if_the_plan_was_far_off():
    assert corrected(40, 300, size=LARGE).size != LARGE
    assert rules.SIZES.index((3, 8)) < rules.SIZES.index(tuple(vars(corrected(40, 4000).size).values()))


def test_a_correction_trains_even_if_nothing_is_left_and_keeps_epochs_that_were_given():
    assert corrected(40, -100).length.passes == pytest.approx(1, abs=0.1)
    assert corrected(40, 10, "train.epochs").length.epochs == 40


def test_reasons_name_what_was_decided():
    found = settings("train.batch_size")
    option = chosen(20)
    told = " ".join(rules.reasons(option, rules.sizes(found, frozenset()), found, rules.fixed(found), 32))
    for part in (f"{option.size}", f"{option.length.epochs} epochs with 32 steps", "config.train.batch_size is kept"):
        assert part in told


@pytest.mark.parametrize("rule, epochs", [("paper", 0), ("interactions", 16)])
def test_the_warm_up_of_the_rule_comes_before_what_is_learned(rule, epochs):
    assert rules.warmup_epochs(settings(oracle={"rule": rule})) == epochs


def test_baselines_have_a_share_of_each_that_is_trained():
    assert rules.baselines_share(settings()) == 0
    for names, pretrained, share in (((), "", 0), (("majority",), "x", 0), (("majority", "cnn"), "x", 0.1)):
        found = settings(baselines={"names": names, "pretrained": pretrained, "time_share": 0.1})
        assert rules.baselines_share(found) == share
    # The plain CNN with a teacher is one more.
    taught = {"train": {"teacher": True}, "baselines": {"names": ("cnn",), "pretrained": "x", "time_share": 0.1}}
    assert rules.baselines_share(settings(**taught)) == 0.2


@hypothesis.settings(deadline=None, max_examples=30)
@given(st.floats(4, 600))
def test_a_plan_leaves_time_for_the_baselines_which_have_a_few_steps_at_least(minutes):
    names = {"names": ("majority", "cnn", "preset"), "time_share": 0.1}
    costs, asked = Costs(figures()), settings(baselines=names)
    option = rules.choose(costs, 60 * minutes, rules.sizes(asked, frozenset()), asked, frozenset(), 64)
    if not option.length.epochs:
        return
    seconds = rules.stages(costs, option, asked)
    trained = seconds[plan.SEARCH] + seconds[plan.TRAINING]
    least = costs.start(option.size) + rules.BASELINE_STEPS * costs.step(option.size, option.batch)
    assert seconds[plan.BASELINES] == max(0.2 * trained, 2 * least)
    assert sum(seconds.values()) <= 60 * minutes
    if option.length.epochs < rules.MOST_EPOCHS:
        assert sum(seconds.values()) + 1.5 * costs.epoch(option.size, option.batch) > 60 * minutes * 0.94


def test_a_pretrained_network_has_the_time_that_was_measured():
    """It has no share: all images pass through it, however long this takes."""
    asked = {"baselines": {"names": ("cnn",), "pretrained": "x"}}
    without, with_it = (
        rules.stages(Costs(found), chosen(10, figures_=found, **asked), settings(**asked))
        for found in (figures(pretrained=seconds) for seconds in (0.0, 100.0))
    )
    assert sum(with_it.values()) <= 600 and with_it[plan.BASELINES] > 100
    assert 50 < without[plan.TRAINING] - with_it[plan.TRAINING] < 100  # search and other baselines have less, too


def test_epochs_of_baselines_that_are_given_have_their_time():
    costs = Costs(figures())
    one, thirty = (
        rules.baselines(costs, SMALL, 64, settings(baselines={"names": ("cnn",), "epochs": epochs}), 0.0)
        for epochs in (1, 30)
    )
    assert thirty - one == pytest.approx(29 * costs.epoch(SMALL, 64))
    # They have these epochs, and no share of a long training.
    given = settings(baselines={"names": ("cnn",), "epochs": 1})
    assert rules.baselines(costs, SMALL, 64, given, 1e6) == one and rules.baselines_share(given) == 0


@hypothesis.settings(deadline=None, max_examples=40)
@given(st.floats(0.3, 4), st.floats(2, 8))
def test_a_budget_that_has_time_for_a_training_still_has_it_with_more_minutes(slow, minutes):
    """Neither a longer search nor the measurement of the derived network take the last steps."""
    lengths = [chosen(minutes + tenth / 10, slow=slow).length.epochs for tenth in range(6)]
    assert sorted(map(bool, lengths)) == list(map(bool, lengths))
