"""pipeline/configs: the values that a config promises."""

from models.runtime.section import SEARCH, TRAINING, leaves
from models.settings import Settings
from pipeline.configs import base, cifar10_paper


def other(value):
    """Returns a value of the same type that differs."""
    if isinstance(value, bool):
        return not value
    return value + "x" if isinstance(value, str) else (*value, "x") if isinstance(value, tuple) else (value or 0) + 1


def test_the_papers_config_states_every_setting_that_would_change_its_results(monkeypatch):
    paper = Settings.parse(cifar10_paper.get_config())
    results = {**paper.key(SEARCH), **paper.key(TRAINING)}
    results |= {key: value for key, value, _ in leaves(paper) if key.startswith("derive.")}
    results |= {"architecture": "", "data.name": "cifar10", "data.val_fraction": 0.5}
    changed = base.get_config()
    defaults = {key: value for key, value, _ in leaves(Settings()) if key in results}
    changed.update_from_flattened_dict({key: other(value) for key, value in defaults.items()})
    monkeypatch.setattr(base, "get_config", lambda: changed)
    stated = cifar10_paper.get_config()
    for key, value in results.items():
        found = stated
        for part in key.split("."):
            found = found[part]
        assert found == value, f"State config.{key} in pipeline/configs/cifar10_paper.py."
