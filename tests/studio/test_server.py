"""The studio as a server and in Chromium: what is shown, cancelled and refused; nothing leaves the machine."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from browser import Browser, find_browser

from ncsn.errors import ConfigError
from ncsn.studio.networks import Networks
from ncsn.studio.page import Studio
from ncsn.studio.uploads import MOST_OF_A_REQUEST

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studio(networks: Callable[..., Networks]) -> Studio:
    return Studio(networks(), "runs/mine", at_once=1)


@pytest.fixture(scope="module")
def address(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the page, whose files, if it kept any, would lie in `address`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("kept")))
        page, address = studio.serve("127.0.0.1", None)
        yield address.rstrip("/")
        page.close(verbose=False)


@pytest.fixture(scope="module")
def page(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium to open the studio in")
    with Browser(executable, tmp_path_factory.mktemp("profile")) as browser:
        browser.open(address, 1280)
        yield browser


@pytest.fixture
def evaluations(studio: Studio) -> Iterator[list[float]]:
    """When the network was evaluated, 500 times of which take 15 seconds or more."""
    at: list[float] = []

    def slowly(*_: object) -> None:
        at.append(time.monotonic())
        time.sleep(0.03)

    hook = studio.networks.first.score.network.register_forward_pre_hook(slowly)
    yield at
    hook.remove()


def has_ended(evaluations: list[float]) -> bool:
    return time.monotonic() - evaluations[-1] > 0.5


def go_to(page: Browser, tab: str) -> None:
    tabs = "[...document.querySelectorAll('button[role=tab]')].filter(e => e.offsetWidth)"
    found = f"{tabs}.find(e => e.textContent.trim() == '{tab}')"
    page.wait(f"(({found})?.click(), ({found})?.ariaSelected == 'true')")


def is_done(name: str) -> str:
    return f"document.querySelector('#{name}')?.textContent.includes('done')"


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def ask_for(page: Browser, evaluations: int) -> None:
    """Sets the evaluations of the tab Draw."""
    field = "document.querySelector('input[type=number][aria-label*=Evaluations]')"
    page.wait(f"!!{field}")
    script = f"{field}.value = {evaluations}; {field}.dispatchEvent(new Event('input', {{bubbles: true}}))"
    page.evaluate(script)


def test_it_draws_and_shows_a_chain_when_an_image_is_pressed(page: Browser) -> None:
    page.click("#draw-start")
    page.wait(is_done("draw-noise"))
    assert page.evaluate("document.querySelectorAll('#draw-pictures button img').length") == 16
    page.click("#draw-pictures [data-number='3']")
    page.wait("document.body.textContent.includes('The chain of image 4')")
    page.wait("document.body.textContent.includes('The training images nearest to it')")


def test_drawing_stops_on_the_server_when_the_page_asks(page: Browser, evaluations: list[float]) -> None:
    ask_for(page, 500)
    page.click("#draw-start")
    page.wait("document.querySelector('#draw-noise').textContent.includes('of 500')")
    page.click("#draw-stop")
    wait_for(lambda: has_ended(evaluations))
    assert not page.evaluate(is_done("draw-noise"))


def test_a_hole_that_is_painted_is_drawn_anew(page: Browser) -> None:
    go_to(page, "Restore")
    page.click("#restore-take")
    page.wait("!document.querySelector('#canvas .paper').classList.contains('empty')")
    page.click("#restore-start")
    page.wait("document.body.textContent.includes('Nothing is painted.')")
    page.mouse(*(page.place("#canvas .hole", *place) for place in ((0.3, 0.3), (0.6, 0.4), (0.4, 0.6))))
    painted = page.evaluate(
        "(() => { const c = document.querySelector('#canvas .hole'); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; return d.filter((a, i) => i % 4 == 3 && a).length; })()"
    )
    assert 10 < painted < 60
    page.click("#restore-start")
    page.wait(is_done("restore-noise"))
    assert page.evaluate("document.querySelectorAll('#restore-results img').length") == 6


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [("script.png", b"#!/bin/sh\n", "This is no image that can be read."), ("a.png", bytes(11 * 2**20), "11 MB")],
)
def test_an_upload_that_is_no_image_gets_a_sentence(
    page: Browser, tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    go_to(page, "Restore")
    (tmp_path / name).write_bytes(content)
    page.upload("#canvas input[type=file]", tmp_path / name)
    page.wait(f"document.body.textContent.includes({expected!r})")


def test_two_sides_are_compared(page: Browser) -> None:
    go_to(page, "Compare")
    page.click("#compare-start")
    page.wait(f"{is_done('compare-noise-1')} && {is_done('compare-noise-2')}")
    page.wait("document.querySelector('#compare-difference').textContent.includes('Both began with the same noise')")


def test_chains_run_in_the_toy_and_the_loss_is_measured(page: Browser) -> None:
    go_to(page, "Look inside")
    page.click("#toy-start")
    page.wait("document.querySelector('#toy-annealed path') && document.querySelector('#toy-langevin path') && true")
    page.click("#toy-stop")
    shown = "document.querySelector('#toy-annealed').textContent"

    def stands_still() -> bool:
        before = page.evaluate(shown)
        time.sleep(0.5)
        return page.evaluate(shown) == before

    wait_for(stands_still)
    assert "step 1,000" not in page.evaluate(shown)
    page.click("#loss-start")
    page.wait("document.querySelectorAll('#loss circle').length > 10")


def test_nothing_leaves_the_machine_and_the_console_is_silent(page: Browser, address: str) -> None:
    hosts = {urlsplit(request).netloc for request in page.requests}
    assert hosts == {urlsplit(address).netloc}
    assert page.complaints == []


def test_on_a_phone_all_tabs_are_there_and_nothing_sticks_out(page: Browser, address: str) -> None:
    page.open(address, 390)
    page.wait("[...document.querySelectorAll('button[role=tab]')].filter(e => e.offsetWidth).length == 4")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_work_ends_when_the_page_is_closed(address: str, tmp_path: Path, evaluations: list[float]) -> None:
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium to open the studio in")
    with Browser(executable, tmp_path) as browser:
        browser.open(address, 1280)
        ask_for(browser, 500)
        browser.click("#draw-start")
        wait_for(lambda: len(evaluations) > 0)
    wait_for(lambda: has_ended(evaluations))
    assert len(evaluations) < 500


def test_it_takes_no_files_and_gives_none(address: str) -> None:
    with httpx.Client(base_url=address, trust_env=False) as client:
        taken = client.post("/gradio_api/upload", files={"files": ("a.png", b"content")})
        assert taken.status_code == 403
        assert "keeps no files" in taken.text
        for path in ("/etc/passwd", "../../etc/passwd", str(Path(__file__))):
            assert client.get(f"/gradio_api/file={path}").status_code in (403, 404)
        large = client.post("/gradio_api/queue/join", content=b"x" * (MOST_OF_A_REQUEST + 1))
        assert large.status_code == 413


def test_a_port_in_use_is_told(studio: Studio, address: str) -> None:
    with pytest.raises(ConfigError, match=r"port=.*cannot be served there.*port=null"):
        studio.serve("127.0.0.1", int(address.rpartition(":")[2]))
