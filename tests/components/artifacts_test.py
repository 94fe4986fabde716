"""The custom artifact types keep to what MLMD and the Kubeflow compiler ask of them."""

import importlib
import inspect
import subprocess
import sys

import pytest
from tfx.types import artifact
from tfx.types.artifact_utils import get_artifact_type_class

import components
from components import artifacts

TYPES = [cls for _, cls in inspect.getmembers(artifacts, inspect.isclass) if issubclass(cls, artifact.Artifact)]


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_type_name_is_where_the_class_can_be_imported_from(cls):
    package, name = cls.TYPE_NAME.split(".")
    assert getattr(importlib.import_module(package), name) is cls


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_types_declare_no_properties(cls):
    assert not cls.PROPERTIES


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.__name__)
def test_class_is_found_again_from_the_type_in_the_store(cls):
    assert get_artifact_type_class(cls().artifact_type) is cls


def test_package_lists_every_type_and_no_other():
    assert sorted(components._ARTIFACTS) == sorted(cls.__name__ for cls in TYPES)
    with pytest.raises(AttributeError, match="NoSuchThing"):
        components.NoSuchThing  # noqa: B018


def test_importing_the_package_does_not_import_tfx():
    code = "import components, sys; sys.exit('tfx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
