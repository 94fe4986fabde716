"""Tests of the picture of regret over evaluations."""

import json
import subprocess
import sys

import pytest

from benchmarks.search_quality import regret_plot


def written(path, **methods):
    """A file as tabular_search writes it: method -> ratios of the argmax (or None) and of the best at 50 and at 100."""

    def answer(ratio):
        return None if ratio is None else {"mean": 93.0, "sd": 0.1, "regret": 0.2, "ratio": ratio}

    figures = {
        str(number): {
            "methods": {
                "random": {"argmax": None, "best": answer(1.0)},
                **{
                    method: {"argmax": answer(argmax and argmax[index]), "best": answer(best[index])}
                    for method, (argmax, best) in methods.items()
                },
            }
        }
        for index, number in enumerate((50, 100))
    }
    path.write_text(json.dumps({**figures["100"], "evaluations": figures}))
    return str(path)


def test_ratios_of_several_files_are_averaged_and_missing_answers_left_out(tmp_path):
    one = written(tmp_path / "one.json", gp=([0.5, 0.4], [0.6, 0.2]), evolution=(None, [0.9, 0.8]))
    two = written(tmp_path / "two.json", gp=([0.7, 0.2], [0.6, 0.4]))
    found = regret_plot.read([one, two])
    assert list(found) == ["gp", "evolution"]
    assert found["gp"]["argmax"] == pytest.approx({50: 0.6, 100: 0.3})
    assert found["gp"]["best"] == pytest.approx({50: 0.6, 100: 0.3})
    assert found["evolution"] == {"best": {50: 0.9, 100: 0.8}}


def test_a_ratio_that_does_not_exist_is_left_out(tmp_path):
    path = written(tmp_path / "one.json", gp=([0.5, 0.4], [0.6, 0.2]))
    content = json.loads((tmp_path / "one.json").read_text())
    content["evaluations"]["100"]["methods"]["gp"]["best"]["ratio"] = None
    (tmp_path / "one.json").write_text(json.dumps(content))
    assert regret_plot.read([path])["gp"] == {"argmax": {50: 0.5, 100: 0.4}, "best": {50: 0.6}}


def test_each_panel_shows_all_of_its_methods_and_none_is_cut_off():
    panels = {
        "one": {"gp": {"argmax": {50: 0.5, 100: 0.4}, "best": {50: 0.6, 100: 0.3}}},
        "two": {"gp": {"best": {50: 1.5, 100: 0.2}}, "evolution": {"best": {50: 0.9, 100: 0.8}}},
        "three": {"evolution": {"best": {50: 0.9}}},
    }
    figure = regret_plot.draw(panels, columns=2)
    shown = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in shown] == ["one", "two", "three"]
    assert [len(axes.lines) for axes in shown] == [2, 2, 1]
    gp, evolution = shown[1].lines
    assert gp.get_color() == shown[0].lines[0].get_color() != evolution.get_color()
    for axes in shown:
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > 1.5
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["gp", "evolution", "argmax", "best evaluated"]


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks.search_quality.regret_plot", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_command_writes_the_picture(tmp_path):
    path = written(tmp_path / "one.json", gp=([0.5, 0.4], [0.6, 0.2]))
    out = tmp_path / "regret.png"
    finished = run(f"--panel=macro, noise 0.3={path}", f"--out={out}")
    assert finished.returncode == 0, finished.stderr
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        ("macro", "found 'macro', needed is LABEL=FILE"),
        ("macro=none.json", "No such file or directory: 'none.json'"),
        (
            "macro=requirements.txt",
            "requirements.txt: not a file that benchmarks.search_quality.tabular_search wrote with --json",
        ),
        ("macro=pyproject.toml,none.json", "pyproject.toml: not a file that"),
    ],
)
def test_a_panel_that_cannot_be_drawn_is_refused(panel, message):
    finished = run(f"--panel={panel}")
    assert finished.returncode != 0
    assert message in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
