"""The site is built without a warning, shows mathematics, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import Browser, find_browser

pytest.importorskip("latex2mathml")
formulas = pytest.importorskip("formulas")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.slow
def test_it_shows_mathematics_and_source(site: Path) -> None:
    for name in ("tutorial.html", "family.html", "howto/labels.html", "reference/likelihood.html"):
        page = (site / name).read_text("utf-8")
        assert page.count("<math ") >= 1, name
        assert "arithmatex" not in page, name
        assert "$$" not in page, name
    samplers = (site / "reference" / "samplers.html").read_text("utf-8")
    assert "ncsn.samplers.annealed_langevin.AnnealedLangevin" in samplers
    (link,) = set(re.findall(r'href="([^"]+/ddim\.py)"', samplers))
    assert (site / "reference" / link).resolve() == ROOT / "src" / "ncsn" / "samplers" / "ddim.py"


@pytest.mark.slow
def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = r'<(?:script|img|iframe|source)[^>]+src="([^"]+)"|<link[^>]+href="([^"]+)"'
        for addresses in re.findall(loaded, page.read_text("utf-8")):
            assert not re.match(r"(https?:)?//", "".join(addresses)), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import\s*)[\"']?(https?:)?//", sheet.read_text("utf-8")), sheet


@pytest.mark.slow
def test_it_can_be_read_on_a_phone_and_without_a_server(site: Path, tmp_path: Path) -> None:
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium to open the site in")
    with Browser(executable, tmp_path) as page:
        for name in ("index.html", "family.html", "performance.html"):
            page.open(site / name, 390)
            assert page.evaluate("document.documentElement.scrollWidth") == 390, name
            assert page.complaints == []
            assert [address for address in page.requests if not address.startswith("file:")] == []
        # Material has no search without a server; nothing offers it then
        assert page.evaluate("document.querySelector('.md-header [for=__search]').offsetWidth") == 0


@pytest.mark.parametrize(
    ("line", "tex"),
    [
        ("dx/dσ = −σ s(x, σ).", r"dx/dσ = -σ s(x, σ)."),
        ("τ = η σᵢ₊₁ √(1 − (σᵢ/2)²)", r"τ = η σ_{i+1} \sqrt{1 - (σ_{i}/2)^{2}}"),
        ("E‖s(x̃) + z‖² = c_in,   if x is one of them", None),
    ],
)
def test_docstrings_formulas_become_tex(line: str, tex: str | None) -> None:
    assert formulas.is_formula(line)
    assert tex is None or formulas.tex(line) == tex
    assert formulas.mathml(formulas.tex(line), block=True).startswith("<math ")
    assert '<mo lspace="0.17em" rspace="0.17em">log</mo><mi>p' in formulas.mathml(r"\log p", block=False)
    assert not formulas.is_formula("for state in sampler(score, x, sigmas, normal=σ): …")
