"""What building the site adds to MkDocs: pages from the root of the repository, links to its files, and MathML."""

import html
import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

from formulas import is_formula, mathml, tex

ROOT = Path(__file__).parents[2]
FROM_THE_ROOT = ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")


def on_files(files: Files, config: Any) -> Files:
    """Pages that GitHub looks for at the root."""
    for name in FROM_THE_ROOT:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as the repository has them lead to pages of the site, or else to files of the repository."""
    at_root = page.file.src_uri in FROM_THE_ROOT
    folder = ROOT if at_root else (ROOT / "docs" / page.file.src_uri).parent

    def link(match: re.Match[str]) -> str:
        target, anchor = match[2], match[3] or ""
        path = Path(os.path.normpath(folder / target))
        if not path.exists():
            return match[0]  # MkDocs says what is wrong
        inside = path.relative_to(ROOT).as_posix()
        of_site = inside if inside in FROM_THE_ROOT else inside.removeprefix("docs/")
        in_site = of_site != inside or inside in FROM_THE_ROOT
        if in_site and files.get_file_from_path(of_site) is not None:
            start = Path(page.file.src_uri).parent
            return f"{match[1]}({Path(os.path.relpath(of_site, start)).as_posix()}{anchor})"
        return f"{match[1]}(repository:{inside}{anchor})"

    markdown = re.sub(r"^::: ([\w.]+)$", _modules, markdown, flags=re.MULTILINE)
    return re.sub(r"(\])\((?!\w+:|#|<|/)([^)\s#]+)(#[^)\s]*)?\)", link, markdown)


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    """Formulas as MathML: TeX of pages, and what docstrings write as they would for a terminal."""
    content = re.sub(
        r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>',
        lambda m: _shown(mathml(html.unescape(m[2]), block=m[1] == "div"), m[1]),
        content,
        flags=re.DOTALL,
    )
    content = content.replace('href="repository:', f'href="{_source(page, config)}')
    if page.file.src_uri.startswith("reference/"):
        content = re.sub(
            r'<div class="highlight"><pre><span></span><code>([^<]*)</code></pre></div>', _formula, content
        )
        content = re.sub(
            r"Source code in <code>(\S+?)</code>",
            lambda m: f'Source code, <a href="{_source(page, config)}{m[1]}"><code>{m[1]}</code></a>',
            content,
        )
    return content


def _modules(match: re.Match[str]) -> str:
    """A module to be documented; of a package, what it says of itself, and then file by file."""
    path = ROOT / "src" / match[1].replace(".", "/")
    if not path.is_dir():
        return _module(path.with_suffix(".py"))
    files = sorted(file for file in path.rglob("*.py") if file.name != "__init__.py")
    about = f"::: {match[1]}\n    options: {{members: false}}"
    return "\n\n".join([about, *map(_module, files)])


def _module(file: Path) -> str:
    place = file.relative_to(ROOT).as_posix()
    name = ".".join(file.relative_to(ROOT / "src").with_suffix("").parts)
    return f"## {name}\n\n[`{place}`](repository:{place})\n\n::: {name}"


def _formula(match: re.Match[str]) -> str:
    """An indented block of a docstring, line by line, if it is a formula."""
    text = html.unescape(match[1])
    if not is_formula(text):
        return match[0]
    lines = [mathml(tex(line), block=True) for line in text.strip().splitlines()]
    return "".join(_shown(line, "div") for line in lines)


def _shown(formula: str, tag: str) -> str:
    return f'<div class="formula">{formula}</div>' if tag == "div" else formula


def _source(page: Any, config: Any) -> str:
    """What links to files of the repository begin with: an address, or the way from the page to the folder."""
    if config.extra["source"]:
        return str(config.extra["source"]).rstrip("/") + "/"
    place = Path(config.site_dir, page.file.dest_uri).parent
    return Path(os.path.relpath(ROOT, place)).as_posix() + "/"
