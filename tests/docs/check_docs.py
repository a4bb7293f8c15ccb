#!/usr/bin/env python3
"""Holds the documents against the sources: what they name exists, what exists is named."""

import argparse
import re
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Written in code marks, but ways of spelling rather than names.
NOT_OURS = {"PascalCase", "snake_case", "kPascalCase"}
SOURCE_FOLDERS = ("apps", "bench", "cmake", "examples", "fuzz", "host_lib", "nic_fw", "protocols", "sim", "storage",
                  "tests", "tools", "verbs")
COMMANDS = {}  # name of a built command -> its path


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def documents():
    return sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md",
                   *(ROOT / "docs").rglob("*.md")])


def source_text():
    """All sources as one text; the documents' own test is left out."""
    parts = []
    for folder in SOURCE_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix != ".pcap" and path != Path(__file__).resolve():
                parts.append(path.read_text(encoding="utf-8", errors="replace"))
    parts.append(read("CMakeLists.txt"))
    return "\n".join(parts)


def section(text, heading):
    """The part of a document below a heading, up to the next one of any level."""
    match = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#+ |\Z)", text, re.M | re.S)
    if match is None:
        raise AssertionError(f"no section '{heading}'")
    return match.group(1)


def table_rows(text):
    """Cells of every row of the tables in a text, without heads and rules."""
    lines = text.splitlines()
    rows = []
    for number, line in enumerate(lines):
        if not line.startswith("|") or re.fullmatch(r"[|\-\s:]+", line):
            continue
        if number + 1 < len(lines) and re.fullmatch(r"\|[|\-\s:]+", lines[number + 1]):
            continue
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def code_words(text):
    return re.findall(r"`([^`]+)`", text)


def first_column(text):
    return [word for row in table_rows(text) for word in code_words(row[0])]


def scheme_sources():
    """The files of the URI schemes' rows, in the order of their registration."""
    order = re.findall(r"// (scheme_\w+\.cc)", read("sim/lanai/schemes.cc"))
    found = sorted(p.name for p in (ROOT / "sim/lanai").glob("scheme_*.cc"))
    if sorted(order) != found:
        raise AssertionError(f"schemes.cc names {order}, there are {found}")
    return "\n".join(read(f"sim/lanai/{name}") for name in order)


def x_macro(text, name):
    """(enumerator, first quoted string) of each X(...) line of a macro."""
    body = re.search(rf"#define {name}\(X\)((?:.*\\\n)*.*)", text).group(1)
    return [(entry.group(1), entry.group(2))
            for entry in re.finditer(r"X\((\w+),[^\"]*\"([^\"]+)\"", body)]


class Tables(unittest.TestCase):
    """The lists of docs/implemented.md and docs/uri.md."""

    @classmethod
    def setUpClass(cls):
        cls.implemented = read("docs/implemented.md")
        cls.counters = read("nic_fw/abi/counters.h")
        cls.firmware = "\n".join(p.read_text() for p in sorted((ROOT / "nic_fw").glob("*.cc")))

    def check_counted(self, heading, macro, enum, skip=()):
        entries = [e for e in x_macro(self.counters, macro) if e[1] not in skip]
        rows = table_rows(section(self.implemented, heading))
        named = [word for row in rows for word in code_words(row[0])]
        self.assertEqual(sorted(named), sorted(text for _, text in entries))
        reserved = {word for row in rows if row[1] == "reserved" for word in code_words(row[0])}
        used = {text for enumerator, text in entries
                if re.search(rf"{enum}::{enumerator}\b", self.firmware)}
        self.assertEqual(reserved, {text for _, text in entries} - used,
                         "marked 'reserved' are exactly those that the firmware never counts")

    def test_counters(self):
        self.check_counted("Counters", "QPIP_NIC_COUNTERS", "NicCounter")

    def test_drop_reasons(self):
        self.check_counted("Drop reasons", "QPIP_DROP_REASONS", "DropReason", skip=("none",))

    def test_nic_commands(self):
        enum = re.search(r"enum class CommandOpcode[^{]*\{(.*?)\};",
                         read("nic_fw/abi/command.h"), re.S).group(1)
        opcodes = re.findall(r"^\s*(k\w+) =\s+\d+", enum, re.M)
        self.assertEqual(sorted(first_column(section(self.implemented, "NIC commands"))),
                         sorted(opcodes))
        management = read("nic_fw/management_fsm.cc")
        for opcode in opcodes:
            self.assertIn(f"case abi::CommandOpcode::{opcode}:", management)

    def test_schemes(self):
        """The rows of schemes (sim/lanai/scheme_*.cc), which schemes.cc registers."""
        rows = re.findall(r'const Scheme (k\w+)Scheme = (?:Row(?:<\w+>)?\(|\{\s*\.name = )"(\w+)"',
                          scheme_sources())
        registered = re.search(r"kSchemes = \{(.*?)\}", read("sim/lanai/schemes.cc"), re.S).group(1)
        self.assertEqual(re.findall(r"&(k\w+)Scheme", registered), [row for row, _ in rows])
        named = {f"{name}:" for _, name in rows}
        self.assertEqual(set(first_column(section(self.implemented, "Wires"))), named)
        self.assertEqual({word.split(":")[0] + ":" for word in
                          first_column(read("docs/uri.md").split("## Port")[0])}, named)

    def test_user_commands(self):
        built = set()
        for folder in ("apps", "bench"):
            text = read(f"{folder}/CMakeLists.txt")
            built |= set(re.findall(r"add_executable\((qpip-[\w-]+) ", text))
            for variable, words in re.findall(r"foreach\((\w+) ([\w ]+)\)", text):
                for stem in re.findall(rf"add_executable\((qpip-[\w-]*)\$\{{{variable}\}}", text):
                    built |= {stem + word for word in words.split()}
        built = {name for name in built if not name.startswith("qpip-micro")}
        self.assertEqual(set(first_column(section(self.implemented, "Commands for users"))), built)

    def test_nbd(self):
        rows = {row[0]: row for row in table_rows(section(self.implemented, "NBD"))}
        negotiation = read("apps/nbd/negotiation.cc")
        transmission = read("apps/nbd/transmission.cc")
        for title, header, macro, handled in (
                ("Options", "protocols/nbd/handshake.h", "QPIP_NBD_OPTIONS",
                 lambda e: f"case {e}:" in negotiation),
                ("Requests", "protocols/nbd/transmission.h", "QPIP_NBD_COMMANDS",
                 lambda e: re.search(rf"\b{e}\b", transmission) is not None)):
            entries = x_macro(read(header), macro)
            self.assertEqual(set(code_words(rows[title][1])),
                             {text for e, text in entries if handled(e)}, title)
            self.assertEqual(set(code_words(rows[title][2])),
                             {text for e, text in entries if not handled(e)}, title)

    def test_uri_parameters(self):
        """Names, and the limits of whole numbers, as in the table that parses them."""
        table = read("sim/lanai/parameters.cc") + scheme_sources()
        parsed = set(re.findall(r'(?:^    \{|QPIP_\w+\(|Parameter k\w+ = \{\s*)"(\w+)"', table, re.M))
        rows = {code_words(row[0])[0]: row for row in table_rows(read("docs/uri.md"))
                if re.fullmatch(r"`\w+`", row[0])}
        self.assertEqual(set(rows), parsed)
        values = {"kMax32": 2**32 - 1, "kMax64": 2**64 - 1, "kDayMs": 86400000}
        written = {"2^32 - 1": 2**32 - 1, "2^64 - 1": 2**64 - 1}
        checked = 0
        for name, low, high in re.findall(r'QPIP_URI_NUMBER\("(\w+)", [\w.()]+, (\w+), ([^)]+)\)', table):
            high = values.get(high, high)
            if f"{low}, {high}" == "0, 1":
                expected = ("0, 1",)
            else:
                expected = (f"{low} to {high}", *(f"{low} to {text}" for text, number in
                                                  written.items() if number == high))
            if "`" not in rows[name][1]:  # else the limit is another parameter
                self.assertIn(rows[name][1], expected, name)
                checked += 1
        self.assertGreater(checked, 10)

    def test_queue_pair_states(self):
        enum = re.search(r"enum class QpState[^{]*\{(.*?)\};", read("nic_fw/queue_pair.h"), re.S).group(1)
        drawing = section(read("docs/architecture.md"), "Life of a queue pair")
        for state in re.findall(r"^\s*(k\w+) = \d+", enum, re.M):
            self.assertIn(state, drawing)

    def test_turns(self):
        """The drawing of the firmware's turns names its services, in order."""
        table = re.search(r"kStateMachines\[\][^{]*\{(.*?)\};", read("nic_fw/firmware.cc"), re.S).group(1)
        services = re.findall(r"Service\w+", table)
        drawn = re.findall(r"  (Service\w+): ", section(read("docs/architecture.md"), "The firmware"))
        self.assertEqual(drawn, services)


class References(unittest.TestCase):
    """Files, links, names and command lines in all documents."""

    @classmethod
    def setUpClass(cls):
        cls.sources = source_text()

    def test_links(self):
        for document in documents():
            text = document.read_text(encoding="utf-8")
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if "://" in target:
                    continue
                path, _, anchor = target.partition("#")
                file = (document.parent / path).resolve() if path else document
                self.assertTrue(file.exists(), f"{document.name}: link to {target}")
                if anchor:
                    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.M)
                    anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
                    self.assertIn(anchor, anchors, f"{document.name}: link to {target}")

    def test_paths(self):
        folders = "|".join(SOURCE_FOLDERS + ("docs",))
        for document in documents():
            for word in code_words(document.read_text(encoding="utf-8")):
                if re.fullmatch(rf"(?:{folders})/[\w./-]*", word):
                    self.assertTrue((ROOT / word).exists(), f"{document.name}: {word}")

    def test_readme_program(self):
        """The README's program is the example that is built and run."""
        shown = re.search(r"```cpp\n(.*?)```", read("README.md"), re.S).group(1)
        self.assertEqual(shown, read("examples/hello.cc"))

    def test_readme_begins_with_what_why_and_how(self):
        """What it is, the six lines and the program fill a screen and a half (of 60 lines)."""
        lines = read("README.md").splitlines()
        fences = [number for number, line in enumerate(lines) if line.startswith("```")]
        self.assertLessEqual(fences[1], 90)
        self.assertEqual(len(re.findall(r"^    \S.*$", section(read("README.md"), "Try it"), re.M)), 6)

    def test_file_names(self):
        """Names of source files without a folder."""
        names = {p.name for folder in SOURCE_FOLDERS for p in (ROOT / folder).rglob("*")}
        names |= {p.name for p in (ROOT / "host_lib/include").rglob("*.h")}
        for document in documents():
            for word in code_words(document.read_text(encoding="utf-8")):
                if re.fullmatch(r"[\w]+\.(?:h|cc|py|cmake)", word):
                    self.assertTrue(word in names or word in ("hello.cc",), f"{document.name}: {word}")

    def test_identifiers(self):
        """Everything in code marks that looks like a C++ name is one of ours."""
        missing = []
        for document in documents():
            for word in code_words(document.read_text(encoding="utf-8")):
                for name in re.findall(r"[A-Za-z_]\w*", word.split("(")[0]):
                    looks = re.search(r"[a-z][A-Z]|_\w|^k[A-Z]", name) or re.fullmatch(r"\w+_", name)
                    whole = re.fullmatch(r"[\w:]+(?:\(.*\))?", word)
                    if name in NOT_OURS:
                        continue
                    if whole and looks and not re.search(rf"\b{re.escape(name)}\b", self.sources):
                        missing.append(f"{document.name}: {word}")
        self.assertEqual(missing, [])

    def test_decisions(self):
        files = sorted((ROOT / "docs/decisions").glob("*.md"))
        self.assertEqual([f.name[:4] for f in files], [f"{i + 1:04}" for i in range(len(files))])
        for file in files:
            text = file.read_text(encoding="utf-8")
            self.assertTrue(text.startswith(f"# {file.name[:4]}: "), file.name)
            self.assertEqual(re.findall(r"^## (.+)$", text, re.M),
                             ["Context", "Decision", "Alternatives", "Consequences"], file.name)

    def command_lines(self):
        for document in documents():
            for line in document.read_text(encoding="utf-8").splitlines():
                match = re.match(r"    (?:\$ )?build/\w+/bin/(qpip-[\w-]+)(.*)", line)
                if match:
                    yield document.name, match.group(1), match.group(2)

    def test_options(self):
        """Every option on a command line is one that the command's --help lists."""
        if not COMMANDS:
            self.skipTest("no commands given")
        help_texts = {}
        for document, command, arguments in self.command_lines():
            self.assertIn(command, COMMANDS, document)
            # A subcommand has a help text of its own.
            asked = [command] + (arguments.split()[:1] if command == "qpip-sim" else [])
            key = " ".join(asked)
            if key not in help_texts:
                done = subprocess.run([COMMANDS[command], *asked[1:], "--help"],
                                      capture_output=True, text=True, timeout=30, check=True)
                help_texts[key] = done.stdout
            for option in re.findall(r"(?<=\s)(--?[A-Za-z][\w-]*)", arguments):
                self.assertRegex(help_texts[key], rf"(?m)(?:^|\s){option}(?=[\s,\]])",
                                 f"{document}: {command} {option}")

    def test_scripts(self):
        for document in documents():
            for line in document.read_text(encoding="utf-8").splitlines():
                match = re.match(r"    ((?:tools|bench)/[\w-]+)(?: (--[\w-]+))?", line)
                if match is None:
                    continue
                script = ROOT / match.group(1)
                self.assertTrue(script.exists(), f"{document.name}: {line}")
                if match.group(2):
                    self.assertIn(match.group(2), script.read_text(), f"{document.name}: {line}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", action="append", default=[], metavar="PATH",
                        help="a built command, whose --help is compared with the documents")
    arguments, rest = parser.parse_known_args()
    COMMANDS.update({Path(path).name: path for path in arguments.command})
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
