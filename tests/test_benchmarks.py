"""What benchmarks hold the project to."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_a_setting_in_which_fast_is_slower_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # what it sets is put back
    monkeypatch.setenv("BENCHMARK_COMPILED", str(tmp_path))
    monkeypatch.delitem(sys.modules, "harness", raising=False)  # another, of tests/campaign
    import harness

    a, b = ({"eager": {"seconds": 0.147}, "fast": {"seconds": fast}} for fast in (0.088, 0.596))
    with pytest.raises(SystemExit, match=r"^speed=fast is slower than eager: b: 0\.596 s, eager 0\.147 s$"):
        harness.check_fast({"a": a, "b": b})
    harness.check_fast({"a": a})
