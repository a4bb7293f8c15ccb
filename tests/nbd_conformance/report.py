"""The results of several servers as a page of docs/."""

HEAD = """# NBD conformance

Requirements of the NBD protocol (`doc/proto.md` of the NBD project; extended headers: its branch
extension-ext-header), and what servers do about them. Each case of `tests/nbd_conformance/` scripts the bytes of a
client. It runs against any server that listens on a kernel socket, whose export it writes to:

    tests/nbd_conformance/nbd_conformance.py 'nbd+unix:///?socket=/tmp/disk' --read-only 'nbd+unix:///cd?socket=/tmp/disk'

This page is made of what happened; a test fails when qpip-nbd-server's column is out of date, or one of its cases
fails:

    tests/nbd_conformance/run_servers.py build/release/bin --report > docs/nbd-conformance.md

*Met*: the case passed. **Fails**: it did not; the reasons are below the tables. *-*: the server does not offer what
the case is about, and need not. The texts are paraphrases; the document counts. Where it is silent the level is "ours". A column is one version of a server,
in the configuration that `run_servers.py` shows.

"""


def summary(cases, servers):
    lines = ["| Server | MUST met | fails | - | SHOULD met | fails | - |", "|---|---|---|---|---|---|---|"]
    for name, results in servers.items():
        cells = []
        for level in ("MUST", "SHOULD"):
            of_level = [results[case.name].split(":")[0] for case in cases if case.level == level]
            cells += [str(of_level.count(word)) for word in ("met", "fails", "skipped")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def cell(result):
    return {"met": "met", "fails": "**fails**", "skipped": "-"}[result.split(":")[0]]


def table(cases, servers):
    lines = ["| Case | Place | Level | Text | " + " | ".join(servers) + " |",
             "|---|---|---|---|" + "---|" * len(servers)]
    for case in cases:
        results = " | ".join(cell(results[case.name]) for results in servers.values())
        lines.append(f"| {case.name} | {case.place} | {case.level} | {case.text} | {results} |")
    return lines


def reasons(cases, servers):
    lines = []
    for name, results in servers.items():
        failed = [(case, results[case.name]) for case in cases if results[case.name].startswith("fails")]
        if failed:
            lines += ["", f"## What {name} fails", ""]
            lines += [f"- {case.name} ({case.level}): {result.partition(': ')[2] or 'see the case'}"
                      for case, result in failed]
    return lines


def make(cases, servers):
    """`servers`: {name: {case's name: result}}"""
    lines = summary(cases, servers) + ["", "## Cases", ""] + table(cases, servers) + reasons(cases, servers)
    return HEAD + "\n".join(lines) + "\n"
