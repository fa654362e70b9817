"""The report of a run: what it says, what it leaves out, and that it is one file that needs nothing else."""

import json
import math
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_run import CHECKSUM, CONFIG, CURVE, STEPS, evaluation, make_run, save_picture, write_json

from ncsn.errors import DataError
from ncsn.report import write_report
from ncsn.report.charts import MOST_POINTS, Line, bar_chart, level_colours, line_chart
from ncsn.report.markup import Markup, join, tag
from ncsn.report.numbers import in_digits, in_words, node_in_words
from ncsn.report.published import PUBLISHED

SAMPLES = "samples/step_0015000_ema_1f3a5b7c"
VOID = {"br", "img", "meta"}
EVIL = "</pre><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """A page that is checked while it is read: elements are closed in the order in which they were opened."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(ids) == len(set(ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += f"{data} "
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)

    def all(self, element: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == element]


def report_of(run: Path) -> Page:
    return Page(write_report(run).read_text("utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything; to be looked at, not changed."""
    return make_run(tmp_path_factory.mktemp("report") / "cifar10" / "2026-11-22_00-59-34")


@pytest.fixture(scope="module")
def page(whole: Path) -> Page:
    return report_of(whole)


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(whole, tmp_path / "runs" / "a_run", ignore=shutil.ignore_patterns("report.html"))


ALL = ["Settings", "Curves", "Samples", "Scores", "Checkpoints", "Nearest training images", "Beyond one number"]


def test_everything_is_there(page: Page) -> None:
    assert page.headings == ALL
    text = re.sub(r"\s+", " ", page.text)
    for words in (
        "22 November 2026, 00:59",
        "cifar10/2026-11-22_00-59-34",
        "finished",
        "cifar10, 32 × 32 × 3",
        "20,000 of 20,000",
        "NCSN: num filters 128",
        "Adam: lr 0.001, betas (0.9, 0.999)",
        "0.999, with a warm-up",
        "NVIDIA H200 on workstation",
        "b40ef5a2af+changes",
        "train.py experiment=cifar10",
        "experiment=cifar10 data.root=data",
        "Step 15,000, EMA weights",
        "AnnealedLangevin: steps per level 100, step size 4e-05",
        "from noise to sample",
        "7.612 ± 0.25",
        "Marked: the best, step 15,000.",
        "samples: 7.3 (6.1 – 8.8)",
        "Mean confidence 94.1 %",
        "All losses are divided by the 3,072 values of an image.",
        f"step {STEPS:,}",
    ):
        assert words in text, words
    assert "σ 1 = 1, σ L = 0.01, L = 10, geometric" in text
    assert yaml.safe_load(text_of(page, "pre")) == CONFIG


def text_of(page: Page, element: str) -> str:
    """The text of the configuration, which is the only preformatted one."""
    assert len(page.all(element)) == 1
    start = page.text.index("data:\n")
    return page.text[start : page.text.index("seed: 0\n", start) + len("seed: 0\n")]


def test_it_needs_nothing_else(page: Page) -> None:
    names = {name for name, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "video", "audio", "source", "form"}
    for name, attributes in page.elements:
        assert not any(key.startswith("on") for key in attributes)
        assert "srcset" not in attributes
        if "src" in attributes:
            assert (attributes["src"] or "").startswith("data:image/png;base64,")
        if "href" in attributes:
            address = attributes["href"] or ""
            assert name == "a"
            assert address.startswith(("#", "https://arxiv.org/abs/"))
        assert "url(" not in (attributes.get("style") or "")
    (policy,) = (meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_its_style_loads_nothing(whole: Path) -> None:
    (style,) = re.findall("<style>(.*?)</style>", write_report(whole).read_text("utf-8"), re.DOTALL)
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    assert "url(" not in style
    assert "@import" not in style


def test_links_of_the_contents_lead_to_sections(page: Page) -> None:
    inside = [a["href"] for a in page.all("a") if (a["href"] or "").startswith("#")]
    assert inside == [f"#{section['id']}" for section in page.all("section")]


def test_pictures_are_spread_over_the_steps(page: Page, whole: Path) -> None:
    assert len(list((whole / "pictures").iterdir())) == 20
    steps = [int(step.replace(",", "")) for step in re.findall(r"(?<=\n| )step ([\d,]+)(?= )", page.text)]
    assert {1000, STEPS} <= set(steps)
    images = [image["alt"] for image in page.all("img")]
    assert len([alt for alt in images if (alt or "").startswith("step")]) == 8


def test_published_scores_stand_apart(page: Page) -> None:
    text = re.sub(r"\s+", " ", page.text)
    ours, published = text.index("This run Step 15,000"), text.index("Published, on 50,000 samples")
    assert ours < published
    assert "differs: 1,000 samples" in text[ours:published]
    for row in PUBLISHED["CIFAR10"].rows:
        assert f"{row.name} " in text[published:]
        assert row.fid in text[published:]
        assert row.source.url in [a["href"] for a in page.all("a")]
    assert "Figures compare only where the protocol agrees: 50,000 samples" in text


def test_a_score_with_the_published_protocol_is_called_that(run: Path) -> None:
    scores = {"is_50k": 8.81, "is_50k_std": 0.09, "fid_50k": 24.9}
    write_json(run / SAMPLES / "evaluation.json", evaluation(scores=scores, num_samples=50_000))
    text = re.sub(r"\s+", " ", report_of(run).text)
    assert "This run Step 15,000, EMA weights, denoised 8.81 ± 0.09 24.9 1,001 the same" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_samples": 256}, "differs: 256 samples"),
        ({"features": {"name": "inception", "published_weights": False}}, "other weights of Inception"),
        ({"reference": {"name": "cifar10", "split": "val"}}, "reference val"),
        ({"reference": {"path": "somewhere"}}, "another reference"),
    ],
)
def test_another_protocol_is_named(run: Path, changes: dict[str, Any], words: str) -> None:
    write_json(run / SAMPLES / "evaluation.json", evaluation(**changes))
    assert words in report_of(run).text


def test_scores_by_a_classifier_are_named_for_it_and_beside_its_accuracy(run: Path) -> None:
    features = {"name": "classifier-mnist", "checksum": CHECKSUM, "accuracy": 0.9931}
    scores = {"classifier_frechet_1k": 3.21, "classifier_score_1k": 9.1, "classifier_precision_1k": 0.9}
    write_json(run / SAMPLES / "evaluation.json", evaluation(scores=scores, features=features))
    text = report_of(run).text
    assert "Fréchet distance, classifier" in text
    assert "99.3 %" in text
    assert "This run has no scores by Inception's features" in text
    assert "FID, classifier" not in text


@pytest.mark.parametrize(("target", "shown"), [("ncsn.data.CelebA", True), ("ncsn.data.MNIST", False)])
def test_published_scores_are_of_the_same_data(run: Path, target: str, shown: bool) -> None:
    config = CONFIG | {"data": CONFIG["data"] | {"_target_": target}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    text = report_of(run).text
    assert ("NCSNv2" in text) == shown
    assert ("images of 32 × 32" in text) == shown
    assert "DDPM" not in text


def remove(*names: str) -> Callable[[Path], None]:
    def of(run: Path) -> None:
        for name in names:
            path = run / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return of


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (remove("config.yaml"), []),
        (remove("run.json", "result.json"), []),
        (remove("config.yaml", "run.json", "result.json", "metrics.csv"), ["Settings", "Curves"]),
        (remove("metrics.csv"), ["Curves"]),
        (remove("samples"), ["Scores", "Nearest training images", "Beyond one number"]),
        (remove("samples", "pictures"), ["Samples", "Scores", "Nearest training images", "Beyond one number"]),
        (remove(f"{SAMPLES}/evaluation.json"), ["Scores", "Beyond one number"]),
        (remove(f"{SAMPLES}/settings.json"), []),
        (remove(f"{SAMPLES}/neighbours.png"), []),
        (remove("evaluation"), ["Checkpoints"]),
    ],
)
def test_what_is_missing_is_left_out(run: Path, change: Callable[[Path], None], missing: list[str]) -> None:
    change(run)
    assert report_of(run).headings == [heading for heading in ALL if heading not in missing]


@pytest.mark.parametrize("kept", ["config.yaml", "run.json", "result.json", "metrics.csv", "pictures", "evaluation"])
def test_one_file_alone_makes_a_report(run: Path, kept: str) -> None:
    for path in run.iterdir():
        if path.name != kept:
            remove(path.name)(run)
    assert report_of(run).text


@pytest.mark.parametrize(
    "missing", ["memorisation", "classes", "held_out", "checkpoint", "sampler", "denoise", "seconds"]
)
def test_parts_of_an_evaluation_may_be_missing(run: Path, missing: str) -> None:
    found = evaluation()
    del found[missing]
    write_json(run / SAMPLES / "evaluation.json", found)
    assert "Scores" in report_of(run).headings


def test_scores_without_a_number(run: Path) -> None:
    scores = {"fid_1k": math.nan, "kid_1k": None, "is_1k": math.inf}
    write_json(run / SAMPLES / "evaluation.json", evaluation(scores=scores))
    write_json(run / "evaluation" / "curve.json", CURVE | {"criterion": "unheard_of"})
    page = report_of(run)
    assert "nan" in page.text
    assert "Checkpoints" not in page.headings


def test_markup_in_names_and_values_is_text(run: Path) -> None:
    def spoilt(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: spoilt(entry) for key, entry in value.items()}
        return EVIL if isinstance(value, str) and value not in ("fid_1k", "ncsn.data.CIFAR10") else value

    config = spoilt(CONFIG) | {EVIL: EVIL}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for name in ("run.json", "result.json", f"{SAMPLES}/settings.json", f"{SAMPLES}/evaluation.json"):
        write_json(run / name, spoilt(json.loads((run / name).read_text())))
    checkpoints = [{"step": step, "scores": {EVIL: 1.0}} for step in (1, 2)]
    write_json(run / "evaluation" / "curve.json", {"criterion": EVIL, "best": 1, "checkpoints": checkpoints})
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join([lines[0].replace("lr", '"<script>"'), *lines[1:]]))
    renamed = run.rename(run.with_name("<img src=x onerror=alert(3)>"))

    page = report_of(renamed)
    assert page.all("script") == []
    assert all((image["src"] or "").startswith("data:") for image in page.all("img"))
    assert "<script>alert(1)</script>" in page.text  # as text, to be read
    assert "<img src=x onerror=alert(3)>" in page.text


def test_a_failed_run_says_why(run: Path) -> None:
    write_json(run / "result.json", {"overrides": {}, "status": "failed", "error": "data.root=x: <not there>"})
    page = report_of(run)
    assert "failed" in page.text
    assert "data.root=x: <not there>" in page.text


def test_a_run_that_goes_on(run: Path) -> None:
    (run / "result.json").unlink()
    metrics = run / "metrics.csv"
    *lines, last, _ = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines) + last[:40])  # in the middle of a line
    text = report_of(run).text
    assert "not finished" in text
    assert "19,950 of 20,000" in text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "data: [1, 2"),
        ("config.yaml", "- a list"),
        ("config.yaml", b"\xff\xfe\x00"),
        ("run.json", "{"),
        ("run.json", "[]"),
        ("result.json", '{"metrics": {}}'),
        ("metrics.csv", "step,lr\n50,high\n"),
        ("metrics.csv", "step,lr\n50\n"),
        ("metrics.csv", "lr\n0.1\n"),
        ("metrics.csv", b"step,lr\n\xff,1\n"),
        (f"{SAMPLES}/settings.json", ""),
        (f"{SAMPLES}/evaluation.json", '{"scores": {"fid_1k": "low"}, "num_samples": 1000}'),
        (f"{SAMPLES}/evaluation.json", json.dumps(evaluation(memorisation={"pixels": {}}))),
        (f"{SAMPLES}/grid.png", b"\x89PNG\r\n\x1a\n"),
        ("pictures/step_0020000.png", "no picture"),
        ("evaluation/curve.json", '{"criterion": "fid_1k"}'),
        ("evaluation/curve.json", "[" * 100_000),
    ],
)
def test_a_damaged_file_is_named(run: Path, name: str, content: str | bytes) -> None:
    (run / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as error:
        write_report(run)
    assert str(run / name) in str(error.value)
    assert "damaged" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (run / "report.html").exists()


def test_a_picture_cut_short_is_damaged(run: Path) -> None:
    path = run / SAMPLES / "grid.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=re.escape(str(path))):
        write_report(run)


def test_a_failure_leaves_the_report_of_before(run: Path) -> None:
    before = write_report(run).read_bytes()
    (run / "run.json").write_text("{")
    with pytest.raises(DataError):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert list(run.glob(".*")) == []


def test_the_same_folder_gives_the_same_report(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


@pytest.mark.parametrize("name", ["not_there", "empty"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"{name}: no"):
        write_report(tmp_path / name)


def test_samples_for_a_task_name_it(run: Path) -> None:
    folder = run / "samples" / "step_0015000_inpaint_ema_00000000"
    task = {"_target_": "ncsn.sampling.tasks.Inpaint", "fraction": 0.5}
    write_json(folder / "settings.json", {"checkpoint": "step_0015000.ckpt", "weights": "raw", "task": task})
    save_picture(folder / "grid.png", noise=0.1, columns=3)
    text = report_of(run).text
    assert "Inpaint, step 15,000, raw weights" in text
    assert "Inpaint: fraction 0.5" in text


def test_the_loss_of_another_checkpoint_stands_beside(run: Path) -> None:
    other = evaluation()["held_out"] | {"checkpoint": "runs/other/checkpoints/step_0010000.ckpt"}
    write_json(run / SAMPLES / "evaluation.json", evaluation(held_out_against=other))
    text = report_of(run).text
    assert "Twice the loss of two checkpoints" in text
    assert "The other: runs/other/checkpoints/step_0010000.ckpt." in text


def test_samples_of_the_last_checkpoint_name_its_step(run: Path) -> None:
    (run / SAMPLES / "evaluation.json").unlink()
    write_json(run / SAMPLES / "settings.json", {"checkpoint": "last.ckpt", "weights": "ema"})
    assert "Step 15,000, EMA weights" in report_of(run).text


# What the page is made of.


def test_markup() -> None:
    assert tag("p", "a < b", class_="x", hidden=True, title=None) == '<p class="x" hidden>a &lt; b</p>'
    assert tag("line", stroke_width=2) == '<line stroke-width="2"></line>'
    assert tag("img", alt='"') == '<img alt="&quot;">'
    assert join(["&", None, [Markup("<br>"), tag("b", "&")]]) == "&amp;<br><b>&amp;</b>"


@pytest.mark.parametrize(
    ("value", "words"),
    [(15_000, "15,000"), (0.084614, "0.08461"), (-2.5, "−2.5"), (123_456.7, "123,457"), (4e-5, "4e-05"), (0.0, "0")],
)
def test_numbers(value: float, words: str) -> None:
    assert in_digits(value) == words


def test_settings_in_words() -> None:
    given = {"a_b": True, "seed": 2020, "c": [0.9, 0.999], "d": None, "e": CHECKSUM, "f": {"g": 1e-8}}
    assert in_words(given) == "a b yes, seed 2020, c (0.9, 0.999), d none, e 6726825d0a, f g 1e-08"
    assert node_in_words({"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001}) == "Adam: lr 0.001"


def places(chart: Markup | None) -> list[list[tuple[float, float]]]:
    """The points of each line of a chart, and of each part of it that is not interrupted."""
    assert chart is not None
    paths = [p["d"] or "" for p in Page(chart).all("path")]
    parts = [part for path in paths for part in path.split("M") if part]
    return [[tuple(map(float, point.split())) for point in part.split("L")] for part in parts]  # type: ignore[misc]


def test_a_line_is_where_its_values_are() -> None:
    (line,) = places(line_chart("t", [Line("a", [(0, 0), (1, 5), (2, 10)], "red")], "x"))
    assert line == [(46, 192), (197, 102), (348, 12)]
    (line,) = places(
        line_chart("t", [Line("a", [(0.01, 1), (0.1, 10), (1, 100)], "red")], "x", log_x=True, log_y=None)
    )
    assert line == [(46, 192), (197, 102), (348, 12)]


def test_a_line_is_interrupted_where_it_is_not_finite() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, math.inf), (4.0, 1.0), (5.0, 2.0)]
    assert [len(part) for part in places(line_chart("t", [Line("a", points, "red")], "x"))] == [2, 2]
    assert line_chart("t", [Line("a", [(0.0, math.nan)], "red")], "x") is None
    assert line_chart("t", [], "x") is None
    assert bar_chart("t", [0.5, math.nan], "x", 0.5) is None


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-30, 1e30])
def test_a_constant_has_a_chart(value: float) -> None:
    for log_y in (False, None):
        (line,) = places(line_chart("t", [Line("a", [(5, value), (6, value)], "red")], "x", log_y=log_y))
        assert all(0 <= coordinate <= 360 for point in line for coordinate in point)
    assert line_chart("t", [Line("a", [(5, value)], "red")], "x") is not None


def test_long_curves_are_thinned_by_means() -> None:
    points = [(float(step), float(step % 2)) for step in range(4000)]
    (line,) = places(line_chart("t", [Line("a", points, "red")], "x"))
    assert MOST_POINTS / 2 < len(line) <= MOST_POINTS
    assert len({y for _, y in line}) == 1


def test_noise_levels_have_colours_of_their_own() -> None:
    for count in (1, 2, 10, 232):
        colours = level_colours(count)
        assert len(set(colours)) == count
        assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
