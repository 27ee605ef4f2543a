"""BibTeX, as much as one entry of a `citation.bib` needs: read it, write it, see what it lacks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypedDict

from shared.experiment.errors import Damaged


class Entry(TypedDict):
    """One BibTeX entry; field names in lower case, values without their outer delimiters."""

    type: str
    key: str
    fields: dict[str, str]


EXPECTED = {
    "inproceedings": (
        ("author", "title", "booktitle", "year"),
        ("editor", "volume", "pages", "publisher"),
    ),
    "article": (("author", "title", "journal", "year"), ("volume", "number", "pages")),
    "misc": (("author", "title", "year"), ()),
}
"""What a complete entry of a type holds: the fields it must have, and those it should have."""


def parse_bib(text: str) -> Entry:
    """The first entry of a .bib text. Raises Damaged where it is not BibTeX."""
    head = re.search(r"@(\w+)\s*\{\s*([^\s,{}]+)\s*,", text)
    if head is None:
        raise Damaged("The bibliography holds no BibTeX entry of the form @type{key, ...}.")
    fields: dict[str, str] = {}
    at = head.end()
    while (field := re.compile(r"[\s,]*([\w-]+)\s*=\s*").match(text, at)) is not None:
        value, at = _value(text, field.end())
        fields[field[1].lower()] = " ".join(value.split())
    if not re.compile(r"[\s,]*\}").match(text, at):
        raise Damaged(f"The BibTeX entry {head[2]} does not end with a closing brace.")
    return {"type": head[1].lower(), "key": head[2], "fields": fields}


def _value(text: str, at: int) -> tuple[str, int]:
    """The value that starts at `at`, and where it ends: {nested {braces}}, "quoted" or bare."""
    if at < len(text) and text[at] == '"':
        end = text.find('"', at + 1)
    elif at < len(text) and text[at] == "{":
        depth, end = 0, -1
        for i in range(at, len(text)):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if depth == 0:
                end = i
                break
    else:
        bare = re.compile(r"\w+").match(text, at)
        return (bare[0], bare.end()) if bare else _unfinished()
    return (text[at + 1 : end], end + 1) if end > 0 else _unfinished()


def _unfinished() -> tuple[str, int]:
    raise Damaged("A BibTeX field has no end: a brace or a quote is not closed.")


def format_bib(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """One entry as text, `=` aligned, empty fields left out."""
    kept = {name: value for name, value in fields.items() if value}
    width = max(map(len, kept), default=0)
    lines = [f"  {name:<{width}} = {{{value}}}," for name, value in kept.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def escape(text: str) -> str:
    """Plain text for a BibTeX value: LaTeX's special characters made harmless."""
    specials = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    specials |= {c: f"\\{c}" for c in "{}%&#$_"}
    specials |= {"<": r"\ensuremath{<}", ">": r"\ensuremath{>}", "|": r"\ensuremath{|}"}
    return "".join(specials.get(c, c) for c in text)


def missing(entry: Entry) -> list[str]:
    """Fields that a complete entry of this type would have and this one lacks."""
    required, wanted = EXPECTED.get(entry["type"], EXPECTED["misc"])
    return [name for name in (*required, *wanted) if not entry["fields"].get(name)]


def pages(entry: Entry) -> list[str]:
    """Where a person can look the missing fields up: DOI, arXiv, or the entry's own address."""
    fields = entry["fields"]
    found = []
    if fields.get("doi"):
        found.append(f"https://doi.org/{fields['doi']}")
    if fields.get("eprint") and fields.get("archiveprefix", "arXiv").lower() == "arxiv":
        found.append(f"https://arxiv.org/abs/{fields['eprint']}")
    if fields.get("url"):
        found.append(fields["url"])
    return found
