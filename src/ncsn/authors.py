"""Names of parameters in the checkpoints that the paper's authors released, and ours.

authors' release          ours
begin_conv, end_conv      stem, head
normalizer                head_norm
res2.0.normalize1         stages.1.0.norm1
refine2.adapt_convs.1     refine.1.adapt.1
  .1_2_conv, .1_2_norm      .convs.1, .norms.1        (unit 1, convolution 2 → the second of the chain)
refine2.msf, crp          refine.1.fuse, pool
refine4.output_convs      refine.3.output
"""

import re
from collections.abc import Callable, Mapping

from torch import Tensor

_RENAMES: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"^module\.", ""),
    (r"^begin_conv\.", "stem."),
    (r"^end_conv\.", "head."),
    (r"^normalizer\.", "head_norm."),
    (r"^res(\d)\.", lambda m: f"stages.{int(m[1]) - 1}."),
    (r"^refine(\d)\.", lambda m: f"refine.{int(m[1]) - 1}."),
    (r"\.normalize(\d)\.", r".norm\1."),
    (r"\.(conv2|shortcut)\.conv\.", r".\1."),
    (r"\.adapt_convs\.", ".adapt."),
    (r"\.output_convs\.", ".output."),
    (r"\.msf\.", ".fuse."),
    (r"\.crp\.", ".pool."),
    (r"\.(\d)_(\d)_(conv|norm)\.", lambda m: f".{m[3]}s.{2 * int(m[1]) + int(m[2]) - 3}."),
]


def rename_authors_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A model state of the authors' format under this project's names, ready for `NCSN.load_state_dict`."""

    def rename(name: str) -> str:
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        return name

    return {rename(name): value for name, value in state.items()}
