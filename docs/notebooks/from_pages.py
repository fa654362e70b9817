"""Pages as notebooks: `python docs/notebooks/from_pages.py` writes and runs them in a quarter of an hour.

The pages are the source. Their Python and their commands become cells, the rest is text; what they printed and
their pictures come from running the notebook. `--text` takes over a changed text, and keeps what unchanged cells
have put out.
"""

import argparse
import os
import re
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode, v4
from PIL import Image

FOLDER = Path(__file__).resolve().parent
PAGES = {"tutorial": FOLDER.parent / "tutorial.md", "photos": FOLDER.parent / "howto" / "photos.md"}
RUN_COMMANDS = {"photos"}  # the tutorial's are for afterwards
INSTALL = '''import sys

if "google.colab" in sys.modules:  # elsewhere it is there already
    repository = input("git repository to install ncsn from: ")
    %pip install --quiet "ncsn[figures,efficientnet] @ git+{repository}"'''
FENCE = re.compile(r"^```(python|sh)\n(.*?)^```\n(?:\n(?: {4}[^\n]*\n)+)?", re.MULTILINE | re.DOTALL)
BAR = re.compile(r"\d%\|| \| +\| ")
PICTURE = re.compile(r"^!\[([^]]*)\]\((?:\.\./)?images/(\w+)\.png\)$", re.MULTILINE)


def notebook(page: Path) -> NotebookNode:
    """A page as a notebook without output."""
    cells = [v4.new_code_cell(INSTALL), *_cells(page)]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def _cells(page: Path) -> Iterator[NotebookNode]:
    text, end = page.read_text("utf-8"), 0
    for match in FENCE.finditer(text):
        if match[1] == "sh" and page.stem not in RUN_COMMANDS:
            continue
        yield from _text(text[end : match.start()], page, text)
        yield v4.new_code_cell(match[2].rstrip() if match[1] == "python" else f"%%sh\n{match[2].rstrip()}")
        end = match.end()
    yield from _text(text[end:], page, text)


def _text(part: str, page: Path, whole: str) -> Iterator[NotebookNode]:
    """Text, in which pictures that the page makes are shown as they were made."""
    end = 0
    for match in PICTURE.finditer(part):
        name = match[2]
        made = f"{name}.png" if f'"{name}.png"' in whole else f"{name}/grid.png" if f"out={name}\n" in whole else None
        if made is None:
            continue
        yield from _markdown(part[end : match.start()], page)
        yield v4.new_code_cell(f'from IPython.display import Image as Shown\n\nShown("{made}")  # {match[1]}')
        end = match.end()
    yield from _markdown(part[end:], page)


def _markdown(text: str, page: Path) -> Iterator[NotebookNode]:
    def link(match: re.Match[str]) -> str:
        target = os.path.relpath(page.parent / match[1], FOLDER)
        return f"]({Path(target).as_posix()}{match[2] or ''})"

    text = re.sub(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)", link, text).strip()
    if text:
        yield v4.new_markdown_cell(text)


def execute(made: NotebookNode, folder: Path, timeout: int) -> None:
    """Runs a notebook in a folder, with the `ncsn` of this Python; its output is put into it."""
    from nbclient import NotebookClient

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    client = NotebookClient(
        made, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    for cell in made.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell["outputs"] = [_small(output) for output in _joined(cell.get("outputs", []), f"{folder}{os.sep}")]


def _joined(outputs: list[Any], place: str) -> Iterator[Any]:
    """Output as a reader sees it: each stream whole, of lines that are written over each other the last, no bars."""
    for name in ("stdout", "stderr"):
        text = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == name)
        lines = [line.rpartition("\r")[2] for line in text.replace(place, "").split("\n")]
        if text := "\n".join(line for line in lines if not BAR.search(line)).strip("\n"):
            yield v4.new_output("stream", name=name, text=text + "\n")
    yield from (output for output in outputs if output.output_type != "stream")


def _small(output: Any) -> Any:
    """Pictures in 256 colours, a third of the size."""
    if "image/png" in output.get("data", {}):
        small = BytesIO()
        with Image.open(BytesIO(b64decode(output.data["image/png"]))) as picture:
            picture.convert("RGB").quantize(256).save(small, "png", optimize=True)
        output.data["image/png"] = b64encode(small.getvalue()).decode()
    return output


def with_output_of(made: NotebookNode, before: NotebookNode) -> NotebookNode:
    """A notebook with the output of cells that were there before as they are now."""
    kept = {cell.source: cell for cell in before.cells if cell.cell_type == "code"}
    for cell in made.cells:
        if cell.cell_type == "code" and cell.source in kept:
            cell["outputs"] = kept[cell.source].outputs
            cell["execution_count"] = kept[cell.source].execution_count
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *PAGES], help="by default all")
    parser.add_argument("--text", action="store_true", help="run nothing; unchanged cells keep their output")
    arguments = parser.parse_args()
    for name in arguments.names or PAGES:
        made, path = notebook(PAGES[name]), FOLDER / f"{name}.ipynb"
        if arguments.text:
            made = with_output_of(made, nbformat.read(path, 4)) if path.is_file() else made
        else:
            with tempfile.TemporaryDirectory() as folder:
                execute(made, Path(folder), timeout=3600)
        nbformat.write(made, path)
        print(path)


if __name__ == "__main__":
    main()
