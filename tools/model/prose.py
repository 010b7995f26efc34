"""Plain text of books -> passages of a few paragraphs, in plain ASCII.

All books get the same quotation marks and dashes: typography would otherwise tell them apart, and a feature
that fires on curly quotes is not knowledge of a book.
"""
import os
import re
import unicodedata

SIGNS = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "--",
                       "\u2026": "...", "\u00e6": "ae", "\u00c6": "Ae", "\u0153": "oe", "\u00a3": "L", "\u2060": None})
PASSAGE = 600  # characters; 150 tokens or so


def clean(text):
    """ASCII, one space between words; marks of headings and emphasis are left out."""
    text = unicodedata.normalize("NFKD", text.translate(SIGNS)).encode("ascii", "ignore").decode()
    text = re.sub(r"^#+ .*$", "", text, flags=re.M)
    return re.sub(r"[*_#]+", "", text)


def paragraphs(text):
    return [p for p in (" ".join(p.split()) for p in re.split(r"\n\s*\n", clean(text))) if p]


def passages(text, size=PASSAGE):
    """Paragraphs joined until a passage has `size` characters; a long paragraph is a passage of its own."""
    out, held = [], ""
    for p in paragraphs(text):
        held = held + "\n" + p if held else p
        if len(held) >= size:
            out.append(held)
            held = ""
    return out + [held] if len(held) >= size // 2 else out


def files(path):
    if os.path.isfile(path):
        return [path]
    return sorted(os.path.join(path, n) for n in os.listdir(path) if n.endswith(".txt"))


def read(path):
    """[(name of the book, its passages)] of a file or a folder of .txt files."""
    out = []
    for name in files(path):
        with open(name, encoding="utf-8") as f:
            out.append((os.path.splitext(os.path.basename(name))[0], passages(f.read())))
    if not any(p for _, p in out):
        raise SystemExit(f"{path}: no text in it; want .txt files with paragraphs between blank lines")
    return out


def split(book, chars, held=0.1):
    """A book's passages as (trained, held out): the first `chars` characters (0: all) without the last tenth,
    and that tenth, at most as much of it as is trained."""
    end = len(book) - max(1, int(len(book) * held))
    trained, n = [], 0
    for p in book[:end]:
        if chars and n >= chars:
            break
        trained.append(p)
        n += len(p)
    return trained, book[end:][:len(trained)]
