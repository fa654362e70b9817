"""The notebooks are the pages that they are made from, and run, shortened."""

import re
from pathlib import Path

import pytest

import ncsn

nbformat = pytest.importorskip("nbformat")
from_pages = pytest.importorskip("from_pages")

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
SHORT = {  # what is replaced in the cells, each of it somewhere
    "tutorial": {
        r"toy_steps = \d+": "toy_steps = 5",
        r"digit_steps = \d+": "digit_steps = 2",
        r"level_steps = \d+": "level_steps = 1",
        r"steps=(500|1000)\b": "steps=5",
        r"steps_per_level=100": "steps_per_level=2",
    },
    "photos": {
        r"range\(1000\)": "range(20)",
        r"(max_time=\S+)": r"\1 trainer.max_steps=2 model.num_filters=8",
        r"num_samples=64": "num_samples=4 sampler.steps=2",
        r"num_images=6": "num_images=1",
        r"sampler.steps=200": "sampler.steps=2",
    },
}


@pytest.mark.parametrize("name", from_pages.PAGES)
def test_it_is_its_page_and_has_been_run(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    stored, made = nbformat.read(path, 4), from_pages.notebook(from_pages.PAGES[name])
    nbformat.validate(stored)
    assert [(cell.cell_type, cell.source) for cell in stored.cells] == [(c.cell_type, c.source) for c in made.cells]
    assert path.stat().st_size < 300_000
    outputs = [output for cell in stored.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not re.search(r"/(home|root|tmp|work)/", str(outputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", from_pages.PAGES)
def test_it_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(Path(ncsn.__file__).parents[1]))
    shortened = from_pages.notebook(from_pages.PAGES[name])
    for pattern, short in SHORT[name].items():
        found = [cell for cell in shortened.cells if cell.cell_type == "code" and re.search(pattern, cell.source)]
        assert found, pattern
        for cell in found:
            cell["source"] = re.sub(pattern, short, cell.source)
    from_pages.execute(shortened, tmp_path, timeout=300)
    assert len(list(tmp_path.glob("tutorial_*.png" if name == "tutorial" else "photos_*/grid.png"))) >= 2
