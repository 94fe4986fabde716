"""The Beam runner, and the Beam options that the documentation names."""

import argparse
import re

import pytest
from apache_beam.options import pipeline_options

from pipeline.engines import cluster, engine, hosts
from tests.support import image, pipeline_runs


def documented() -> dict[str, list[str]]:
    """Returns the option sets in docs/deploy.md, indented blocks of --beam_pipeline_args, by what is particular."""
    blocks = re.findall(r"(?:^    --beam_pipeline_args=.*\n)+", (image.ROOT / "docs/deploy.md").read_text(), re.M)
    sets = [re.findall(r"--beam_pipeline_args=(\S+)", block) for block in blocks]
    particular = ("running_mode", "job_endpoint", "Dataflow")
    return {
        next(option for option in options if any(word in option for word in particular)): options for options in sets
    }


def unknown(options: list[str]) -> list[str]:
    """Returns the options that none of Beam's parsers takes."""
    parser = argparse.ArgumentParser(allow_abbrev=False, conflict_handler="resolve")
    for options_class in pipeline_options.PipelineOptions.__subclasses__():
        if hasattr(options_class, "_add_argparse_args"):
            options_class._add_argparse_args(parser)
    return parser.parse_known_args(options)[1]


def test_the_documentation_has_a_set_for_every_place():
    assert set(documented()) == {
        "--direct_running_mode=in_memory",
        "--direct_running_mode=multi_threading",
        "--job_endpoint=JOB_SERVER:8099",
        "--runner=DataflowRunner",
    }


@pytest.mark.parametrize("options", documented().values(), ids=documented())
def test_documented_options_are_ones_that_beam_knows(options):
    assert unknown(options) == []
    parsed = pipeline_options.PipelineOptions(options)
    name = parsed.view_as(pipeline_options.StandardOptions).runner or "DirectRunner"
    assert name in pipeline_options.StandardOptions.KNOWN_RUNNER_NAMES or name == "PortableRunner"


@pytest.mark.parametrize("name", cluster.ENGINES)
def test_the_documented_options_of_flink_and_spark_are_those_that_run(name):
    network = hosts.Network(name)
    ran = [option.replace(network.address("master"), "JOB_SERVER") for option in engine.beam_options(network)]
    assert documented()["--job_endpoint=JOB_SERVER:8099"] == ran


def test_an_option_that_beam_does_not_know_is_found():
    assert unknown(["--direct_runing_mode=in_memory"]) == ["--direct_runing_mode=in_memory"]


def test_a_run_under_beam_ends_like_a_local_one(digits_run, tmp_path):
    run = pipeline_runs.run(tmp_path / "root", module="pipeline.beam_runner")
    assert run.returncode == 0, run.stderr
    for figure in ("genotype", "test_accuracy", "class_accuracy", "params", "blessed"):
        assert run.summary[figure] == digits_run.summary[figure], figure
