"""The notebooks are the pages that they are made from, and run, shortened."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
from_pages = pytest.importorskip("from_pages")

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
SHORT = {  # what is replaced in the cells of photos, each of it somewhere
    r"range\(1000\)": "range(20)",
    r"(max_time=\S+)": r"\1 trainer.max_steps=2 model.num_filters=8",
    r"num_samples=64": "num_samples=4 sampler.steps=2",
    r"num_images=6": "num_images=1",
    r"sampler.steps=200": "sampler.steps=2",
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
def test_the_cells_of_photos_run(
    call: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands within this process, which saves their imports. The tutorial's cells are run by tests of its page."""
    pytest.importorskip("IPython")
    monkeypatch.chdir(tmp_path)
    (install, *sources), names = _code(from_pages.notebook(from_pages.PAGES["photos"])), {}
    assert install == from_pages.INSTALL
    for pattern, short in SHORT.items():
        assert any(re.search(pattern, source) for source in sources), pattern
        sources = [re.sub(pattern, short, source) for source in sources]
    for source in sources:
        if source.startswith("%%sh\n"):
            program, *arguments = shlex.split(source.removeprefix("%%sh\n").replace("\\\n", " "))
            assert program == "ncsn"
            call(*arguments, cwd=tmp_path)
        else:
            exec(source, names)
    assert len(list(tmp_path.glob("photos_*/grid.png"))) == 2


def _code(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]
