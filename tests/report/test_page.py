"""The report of a run: what it says, what it leaves out, and that it is one file that needs nothing else."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_run import CONFIG, CURVE, STEPS, evaluation, save_picture, write_json
from reading import EVIL, SAMPLES, Page, report_of

from ncsn.errors import DataError
from ncsn.report import write_report

ALL = [
    "Settings",
    "Curves",
    "Samples",
    "Scores",
    "Likelihoods",
    "Checkpoints",
    "Nearest training images",
    "Diagnostics",
]
LIKELIHOODS = "likelihood/step_0015000_ema_00000001"


def test_everything_is_there(page: Page) -> None:
    assert page.headings == ALL
    text = re.sub(r"\s+", " ", page.text)
    for words in (
        "22 November 2026, 00:59",
        "cifar10/2026-11-22_00-59-34",
        "finished",
        "cifar10, 32 × 32 × 3",
        "20,000 of 20,000",
        "10, geometric, from σ = 1 to 0.01",
        "NCSN: num filters 128",
        "Adam: lr 0.001, betas (0.9, 0.999)",
        "0.999, with warm-up",
        "NVIDIA H200 on workstation",
        "b40ef5a2af+changes",
        "train.py experiment=cifar10",
        "experiment=cifar10 data.root=data",
        "Step 15,000, EMA weights",
        "AnnealedLangevin: steps per level 100, step size 4e-05",
        "each row is one chain, from noise to sample",
        "Network evaluations per image",
        "7.612 ± 0.25",
        "Circled: the best checkpoint, step 15,000.",
        "samples: 7.3 (6.1 – 8.8)",
        "Mean confidence 94.1%",
        "All losses are divided by the number of values in an image, 3,072.",
        f"step {STEPS:,}",
    ):
        assert words in text, words
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
        (remove("samples"), ["Scores", "Nearest training images", "Diagnostics"]),
        (remove("samples", "pictures"), ["Samples", "Scores", "Nearest training images", "Diagnostics"]),
        (remove(f"{SAMPLES}/evaluation.json"), ["Scores", "Diagnostics"]),
        (remove(f"{SAMPLES}/settings.json"), []),
        (remove(f"{SAMPLES}/neighbours.png"), []),
        (remove("likelihood"), []),
        (remove("likelihood", "bound"), ["Likelihoods"]),
        (remove("evaluation"), ["Checkpoints"]),
    ],
)
def test_what_is_missing_is_left_out(run: Path, change: Callable[[Path], None], missing: list[str]) -> None:
    change(run)
    assert report_of(run).headings == [heading for heading in ALL if heading not in missing]


@pytest.mark.parametrize(
    "kept", ["config.yaml", "run.json", "result.json", "metrics.csv", "pictures", "likelihood", "bound", "evaluation"]
)
def test_one_file_alone_makes_a_report(run: Path, kept: str) -> None:
    for path in run.iterdir():
        if path.name != kept:
            remove(path.name)(run)
    assert report_of(run).text


@pytest.mark.parametrize(
    "missing", ["memorisation", "classes", "by_class", "held_out", "checkpoint", "sampler", "denoise", "seconds"]
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
    assert page.text.count(EVIL) > 20  # as text, to be read
    assert "<img src=x onerror=alert(3)>" in page.text


def test_a_failed_run_says_why(run: Path) -> None:
    write_json(run / "result.json", {"overrides": {}, "status": "failed", "error": "data.root=x: <not there>"})
    page = report_of(run)
    assert "failed" in page.text
    assert "data.root=x: <not there>" in page.text


def test_characters_that_no_file_can_hold_are_replaced(run: Path) -> None:
    (run / "result.json").write_text('{"status": "failed", "error": "data.root=\\ud800: not there"}')
    assert "data.root=?: not there" in report_of(run).text


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
        (f"{LIKELIHOODS}/likelihood.json", '{"likelihood": {}}'),
        (f"{LIKELIHOODS}/likelihood.npz", b"PK"),
        ("bound/step_0015000_ema_00000000/bound.json", '{"bound": {"prior": "much"}}'),
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "[" * 20_000),
        ("config.yaml", "model: &itself {settings: *itself}"),
        ("config.yaml", f"trainer: {{max_steps: 1{'0' * 400}}}"),
        ("metrics.csv", "step,lr\n1,1e308\n2,-1e308\n"),
    ],
)
def test_values_without_end_are_refused(run: Path, name: str, content: str) -> None:
    (run / name).write_text(content)
    with pytest.raises(DataError, match=re.escape(str(run))):
        write_report(run)


def test_a_picture_cut_short_or_too_large_is_damaged(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run / SAMPLES / "grid.png"
    with monkeypatch.context() as patch:
        patch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1)
        with pytest.raises(DataError, match=r"\.png: damaged .*exceeds limit"):
            write_report(run)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=re.escape(str(path))):
        write_report(run)


def test_a_failure_leaves_the_report_of_before(run: Path) -> None:
    before = write_report(run).read_bytes()
    (run / "run.json").write_text("{")
    with pytest.raises(DataError):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert list(run.glob(".*.partial")) == []


def test_what_a_killed_process_left_of_a_report_is_removed(run: Path) -> None:
    (run / ".report.html.0123456789ab.partial").touch()
    write_report(run)
    assert list(run.glob(".*.partial")) == []


def test_templates_are_loaded_only_when_a_report_is_written() -> None:
    for path in (Path(__file__).parents[2] / "src" / "ncsn" / "report").rglob("*.py"):
        assert not re.search(r"^(?:import|from) jinja2", path.read_text("utf-8"), re.MULTILINE), path


def test_the_same_folder_gives_the_same_report(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


@pytest.mark.parametrize("name", ["not_there", "empty"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"{name}: no"):
        write_report(tmp_path / name)


def test_noise_levels_that_come_from_the_data_are_named_for_it(run: Path) -> None:
    noise = {"_target_": "ncsn.training.levels.FromData", "sigma_max": None, "sigma_min": 0.01, "num_levels": None}
    (run / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"noise": noise}))
    assert "FromData: sigma min 0.01" in report_of(run).text


def test_samples_for_a_task_name_it(run: Path) -> None:
    folder = run / "samples" / "step_0015000_inpaint_ema_00000000"
    task = {"_target_": "ncsn.sampling.tasks.Inpaint", "fraction": 0.5}
    write_json(folder / "settings.json", {"checkpoint": "step_0015000.ckpt", "weights": "raw", "task": task})
    save_picture(folder / "grid.png", noise=0.1, columns=3)
    text = report_of(run).text
    assert "Inpaint, step 15,000, raw weights" in text
    assert "Inpaint: fraction 0.5" in text


def test_samples_of_the_last_checkpoint_name_its_step(run: Path) -> None:
    (run / SAMPLES / "evaluation.json").unlink()
    write_json(run / SAMPLES / "settings.json", {"checkpoint": "last.ckpt", "weights": "ema"})
    assert "Step 15,000, EMA weights" in report_of(run).text
