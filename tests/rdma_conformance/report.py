#!/usr/bin/env python3
"""Makes docs/rdma-conformance.md: each clause of iWARP's RFCs, and whether the tests that show it pass now.

    report.py --write DOCUMENT CLAUSES TEST_PROGRAM...    writes it
    report.py --check DOCUMENT CLAUSES TEST_PROGRAM...    fails when it is not what it would write
    report.py --texts FOLDER CLAUSES                      fails when a clause of the RFCs' texts (FOLDER/rfcNNNN.txt) is
                                                          missing, or one of the tables is in none of them

CLAUSES is a folder of files, one an RFC. In each: "RFC NNNN: title", and then for every clause

    [SECTION-NUMBER] what it asks for, in other words
      Suite.Case            a test of GoogleTest that shows it, of one of the programs
      note: ...             what there is to say about it
      deviates: ...         it is not met, on purpose, for this reason
      no case: ...          no test can show it, or needs to, for this reason
"""

import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from keywords import clauses_of

ORDER = ["RFC 5044", "RFC 6581", "RFC 5041", "RFC 5040", "RFC 7306"]
HEAD = """# RDMA: conformance

What RFC 5044 (MPA), RFC 6581 (its enhanced set-up), RFC 5041 (DDP) and RFC 5040 (RDMAP) ask for with MUST, MUST NOT, SHOULD,
SHALL, REQUIRED and RECOMMENDED, sentence by sentence, and what QPIP's iWARP does about it; of RFC 7306 what it adds. Clauses
have the number of their section and of the sentence among those of the section that have such a word; the texts are
paraphrases, and the RFCs count. This page is made of `tests/rdma_conformance/clauses/` and of what the tests named there did:

    ctest --test-dir build/release -R rdma_conformance

runs them and fails when the page is out of date, with the command that makes it anew. *Met*: all tests passed. **Fails**: one
did not. **Deviates**: it is not met, on purpose, with the reason. *No case*: nothing that a test could show, with the reason.
[rdma.md](rdma.md) is about the rest.

| Document | | Met | Fails | Deviates | No case |
|---|---|---|---|---|---|
"""


@dataclass
class Clause:
    number: str
    text: str
    tests: list = field(default_factory=list)
    note: str = ""
    deviates: str = ""
    no_case: str = ""


@dataclass
class Document:
    name: str
    title: str
    clauses: list = field(default_factory=list)


def read_document(path):
    first, *lines = path.read_text(encoding="utf-8").splitlines()
    document = Document(*first.split(": ", 1))
    for line in lines:
        heading = re.fullmatch(r"\[(\S+)\] (.+)", line)
        reason = re.fullmatch(r"  (note|deviates|no case): (.+)", line)
        if heading:
            document.clauses.append(Clause(*heading.groups()))
        elif reason:
            setattr(document.clauses[-1], reason[1].replace(" ", "_"), reason[2])
        elif re.fullmatch(r"  \w+\.\w+", line):
            document.clauses[-1].tests.append(line.strip())
        else:
            raise SystemExit(f"{path}: neither a clause, a test nor a reason: {line}")
    numbers = [clause.number for clause in document.clauses]
    for clause in document.clauses:
        if numbers.count(clause.number) != 1:
            raise SystemExit(f"{path}: [{clause.number}] is there twice")
        if bool(clause.tests) == bool(clause.no_case) and not clause.deviates:
            raise SystemExit(f"{path}: [{clause.number}] has neither tests nor a reason, or both")
    return document


def read_documents(folder):
    documents = [read_document(path) for path in Path(folder).glob("*.txt")]
    return sorted(documents, key=lambda document: ORDER.index(document.name))


def plain(suite, case):
    """Suite.Case without the parameters' parts of the names."""
    return f"{suite.rstrip('.').split('/')[-1]}.{case.split('/')[0]}"


def run_tests(programs, wanted):
    """Name of each of `wanted` that a program has: whether it has run and passed, with all its parameters."""
    outcomes = {}
    fewer = {"QPIP_TEST_REVOCATIONS": "320"}  # than where they are run for their own sake
    for program in programs:
        names = "*:".join(sorted({f"{name}:*/{name}" for name in wanted})) + "*"
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            subprocess.run([program, f"--gtest_filter={names}", f"--gtest_output=json:{report}"],
                           capture_output=True, check=False, env=fewer | os.environ)
            if not report.exists():
                raise SystemExit(f"{program} has not come to its end")
            for suite in json.loads(report.read_text(encoding="utf-8"))["testsuites"]:
                for case in suite["testsuite"]:
                    name = plain(suite["name"], case["name"])
                    passed = case["result"] == "COMPLETED" and not case.get("failures")
                    outcomes[name] = outcomes.get(name, True) and passed
    missing = sorted(set(wanted) - set(outcomes))
    if missing:
        raise SystemExit("no program has these tests:\n  " + "\n  ".join(missing))
    return outcomes


def result_of(clause, outcomes):
    """(column of the summary, text)."""
    failing = [test for test in clause.tests if not outcomes[test]]
    if failing:
        return "fails", "**fails**: " + ", ".join(f"`{test}`" for test in failing)
    if clause.deviates:
        return "deviates", f"**deviates**: {clause.deviates}"
    if clause.no_case:
        return "no case", f"no case: {clause.no_case}"
    return "met", f"met: {clause.note}" if clause.note else "met"


def make_report(documents, outcomes):
    summary, sections = HEAD, ""
    for document in documents:
        totals = {"met": 0, "fails": 0, "deviates": 0, "no case": 0}
        sections += f"\n## {document.name}: {document.title}\n\n| Clause | Text | Result | Shown by |\n|---|---|---|---|\n"
        for clause in document.clauses:
            column, result = result_of(clause, outcomes)
            totals[column] += 1
            shown = "<br>".join(f"`{test}`" for test in clause.tests)
            sections += f"| {clause.number} | {clause.text} | {result} | {shown} |\n"
        summary += f"| {document.name} | {document.title} | " + " | ".join(map(str, totals.values())) + " |\n"
    return summary + sections


def check_texts(texts, documents):
    """Against the RFCs' own words. Returns what is wrong."""
    wrong, seen = [], 0
    for document in documents:
        path = Path(texts, document.name.replace("RFC ", "rfc") + ".txt")
        if not path.exists() or document.name == "RFC 7306":
            continue
        seen += 1
        there = [number for number, _ in clauses_of(path.read_text(encoding="utf-8", errors="replace"))]
        listed = [clause.number for clause in document.clauses]
        wrong += [f"{document.name}: [{number}] is in no table" for number in there if number not in listed]
        wrong += [f"{document.name}: there is no [{number}]" for number in listed if number not in there]
    return wrong if seen else [f"no text of these RFCs in {texts}"]


def main():
    how, path, clauses, *programs = sys.argv[1:]
    documents = read_documents(clauses)
    if how == "--texts":
        wrong = check_texts(path, documents)
        print("\n".join(wrong) if wrong else "all clauses of the texts are in the tables")
        return 1 if wrong else 0
    wanted = {test for document in documents for clause in document.clauses for test in clause.tests}
    report = make_report(documents, run_tests(programs, wanted))
    document = Path(path)
    if how == "--write":
        document.write_text(report, encoding="utf-8")
        return 0
    there = document.read_text(encoding="utf-8") if document.exists() else ""
    if report == there:
        return 0
    sys.stdout.writelines(difflib.unified_diff(there.splitlines(True), report.splitlines(True), path, "now"))
    print(f"out of date: {sys.argv[0]} --write {' '.join(sys.argv[2:])}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
