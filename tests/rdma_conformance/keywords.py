"""Which sentences of an RFC say MUST, MUST NOT, SHOULD, SHALL, REQUIRED or RECOMMENDED.

    keywords.py RFC.txt    prints them with their numbers: section, and the how-manieth of it

They are what the tables of clauses number. Debian has the texts in the package doc-rfc-std-proposed (non-free).
"""

import re
import sys
from pathlib import Path

KEYWORD = re.compile(r"\b(MUST|SHOULD|SHALL|REQUIRED|RECOMMENDED)\b")
PAGE_EDGE = re.compile(r"^(RFC \d{4} .*20\d\d|\S.*\[Page \d+\])$")
SECTION = re.compile(r"^(\d+(?:\.\d+)*)\.?  ?(\S.*)$")
APPENDIX = re.compile(r"^(?:Appendix )?([A-Z](?:\.\d+)*)\.  ?\S")
ITEM = re.compile(r"^\s+(\*|\d+\.|-|o|[a-z]\.)\s")


def paragraphs_of(text):
    """(section, words) of each, lines and pages joined."""
    section, words, blank = "0", [], 0
    for line in text.replace("\f", "\n").split("\n"):
        if PAGE_EDGE.match(line):
            continue
        heading = SECTION.match(line) if "...." not in line else None
        heading = heading or (APPENDIX.match(line) if "...." not in line else None)
        if heading or (words and (ITEM.match(line) or (line.strip() and ends_here(blank, words)))):
            yield section, " ".join(words)
            words = []
        if heading:
            section = heading.group(1)
        elif line.strip():
            words.append(line.strip())
        blank = 0 if line.strip() else blank + 1
    yield section, " ".join(words)


def ends_here(blank, words):
    """Whether so many blank lines end a paragraph: those around a page's edge do not, within a sentence."""
    return 0 < blank < 3 or (blank >= 3 and re.search(r"[.:;]$", words[-1]) is not None)


def clauses_of(text):
    """(number, sentence) of each, in order."""
    counts = {}
    for section, paragraph in paragraphs_of(text):
        for sentence in re.split(r'(?<=[.;])\s+(?=[A-Z"*])', paragraph):
            if KEYWORD.search(sentence):
                counts[section] = counts.get(section, 0) + 1
                yield f"{section}-{counts[section]}", sentence


if __name__ == "__main__":
    for number, sentence in clauses_of(Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace")):
        print(f"[{number}] {sentence}")
