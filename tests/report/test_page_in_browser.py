"""The report in a real browser: it loads alone, complains of nothing, and is legible on wide and narrow screens."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, find_browser

from ncsn.report import write_report

WIDE, NARROW = 1400, 380

# For all text: its size on the screen, and the contrast (WCAG 2) with the nearest background that is not transparent.
LEGIBILITY = """
(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const luminance = colour => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const linear = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const background = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour;
    }
    return 'white';
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, words = walker.currentNode.data.trim();
    if (!words || element.localName === 'title') continue;
    const style = getComputedStyle(element), drawn = element instanceof SVGElement;
    const scale = drawn ? element.getScreenCTM().a : 1;
    const [a, b] = [luminance(drawn ? style.fill : style.color), luminance(background(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize) * scale;
    found.push({words, size, contrast, drawn});
  }
  return found;
})()
"""

# Elements that stick out of the window, those aside that lie in a box that scrolls.
STICKING_OUT = """
[...document.body.querySelectorAll('*')]
  .filter(element => !element.closest('.scroll, pre') && element.getBoundingClientRect().width > 0)
  .filter(element => {
    const box = element.getBoundingClientRect();
    return box.left < -0.5 || box.right > innerWidth + 0.5;
  })
  .map(element => element.outerHTML.slice(0, 100))
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_browser()
    if executable is None:
        pytest.skip("no chromium or chrome on the path (Debian: apt-get install chromium)")
    with Browser(executable, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(whole: Path) -> Path:
    return write_report(whole)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_report(browser: Browser, report: Path, width: int, scheme: str) -> None:
    browser.open(report, width, scheme)
    assert browser.requests == [report.as_uri()]

    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(STICKING_OUT) == []
    assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert browser.evaluate("document.images.length") == 8 + 3

    texts = browser.evaluate(LEGIBILITY)
    assert len(texts) > 200
    assert [t for t in texts if t["size"] < 10] == []
    assert [t for t in texts if t["contrast"] < 4.5] == []
    assert any(t["drawn"] for t in texts)
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(252, 252, 250)", "dark": "rgb(18, 20, 22)"}[scheme]
    assert browser.complaints == []


def test_wide_tables_scroll_in_their_boxes(browser: Browser, report: Path) -> None:
    browser.open(report, NARROW)
    widths = browser.evaluate(
        "[...document.querySelectorAll('.scroll')].map(box => [box.clientWidth, box.scrollWidth])"
    )
    assert all(inside <= NARROW for inside, _ in widths)
    assert any(content > inside for inside, content in widths)


def test_the_configuration_opens(browser: Browser, report: Path) -> None:
    browser.open(report, NARROW)
    before = browser.evaluate("document.querySelector('pre').checkVisibility({contentVisibilityAuto: true})")
    browser.evaluate("document.querySelector('summary').click()")
    assert not before
    assert browser.evaluate("document.querySelector('pre').getBoundingClientRect().height") > 100
    assert browser.evaluate("document.documentElement.scrollWidth") <= NARROW


def test_it_can_be_printed(browser: Browser, report: Path) -> None:
    browser.open(report, WIDE, "dark")
    assert browser.print().startswith(b"%PDF")
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.call("Emulation.setEmulatedMedia", media="")


def test_the_browser_sees_what_it_is_to_see(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<p style='width: 3000px; font-size: 5px; color: #ddd; background: #fff'>text</p>"
        "<img src='http://example.invalid/a.png'><script>console.error('here'); missing()</script>"
    )
    browser.open(page, NARROW)
    assert browser.requests == [page.as_uri(), "http://example.invalid/a.png"]
    assert any("here" in complaint for complaint in browser.complaints)
    assert any("ReferenceError" in complaint for complaint in browser.complaints)
    assert any("ERR_NAME_NOT_RESOLVED" in complaint for complaint in browser.complaints)
    assert browser.evaluate("document.documentElement.scrollWidth") > NARROW
    assert len(browser.evaluate(STICKING_OUT)) == 1
    (text,) = (t for t in browser.evaluate(LEGIBILITY) if t["words"] == "text")
    assert text["size"] == 5
    assert text["contrast"] < 4.5
