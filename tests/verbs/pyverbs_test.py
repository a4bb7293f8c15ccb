"""rdma-core's own tests, of python3-pyverbs, on qpip-run: pyverbs_test.py QPIP_RUN LISTS [--write].

LISTS-VERSION, of rdma-core's version, names those that pass and those that fail, with the reason; all others are skipped, as rdma-core skips what a
device does not have. Anything else fails this test: the list is written again by --write."""
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

SOURCES = "/usr/share/doc/rdma-core/tests"
PYTHON = "/usr/bin/python3"  # whose packages Debian's are
DEADLINE = 250  # seconds
RESULT = re.compile(r"^(\w+) \(tests\.([\w.]+)\)(?:\n[^\n]*?)? \.\.\. (?:[^\n]*\n)??[^\n]*?(ok|FAIL|ERROR|skipped)\b",
                    re.M)


def copy_tests(directory):
    """Debian compresses the longer ones."""
    shutil.copytree(SOURCES, directory)
    for name in os.listdir(directory):
        if name.endswith(".gz"):
            with gzip.open(os.path.join(directory, name)) as packed:
                with open(os.path.join(directory, name[:-3]), "wb") as file:
                    shutil.copyfileobj(packed, file)


def answer_rdma(directory):
    """Newer ones ask `rdma link show -j` which network device a port belongs to, and take none for an answer, but not
    the error that a kernel without RDMA makes of it."""
    path = os.path.join(directory, "rdma")
    with open(path, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\necho '[]'\n")
    os.chmod(path, 0o755)


def version():
    """rdma-core's, of the installed libibverbs; None: none is installed."""
    for place in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"):
        match = re.search(r"\.so\.1\.\d+\.(\d+)\.", os.path.realpath(f"{place}/libibverbs.so.1"))
        if match:
            return match.group(1)
    return None


def run(qpip_run):
    with tempfile.TemporaryDirectory() as directory:
        tests = os.path.join(directory, "tests")
        copy_tests(tests)
        nic = f"shm:pyverbs-{os.getpid()}?address=::ffff:127.0.0.9"
        answer_rdma(directory)
        # Warnings would stand between a test's name and its result.
        environment = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}
        process = subprocess.run([qpip_run, "--nic", nic, "--", PYTHON, "-B", "run_tests.py", "--dev", "qpip0", "-v"],
                                 cwd=tests, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 timeout=DEADLINE, text=True, check=False)
        return process.stdout


def main():
    qpip_run, lists = os.path.abspath(sys.argv[1]), sys.argv[2]
    if not os.path.exists(os.path.join(SOURCES, "run_tests.py")) or subprocess.run(
            [PYTHON, "-c", "import pyverbs"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        print("not run: there is no python3-pyverbs")
        return 77
    list_name = f"{lists}-{version()}"
    if not os.path.exists(list_name) and "--write" not in sys.argv:
        print(f"not run: there is no {list_name} for these tests; --write makes it")
        return 77
    output = run(qpip_run)
    found = {match.group(2): match.group(3) for match in RESULT.finditer(output)}
    known = {}
    reasons = {}
    if os.path.exists(list_name):
        with open(list_name, encoding="utf-8") as file:
            for line in file:
                word, _, rest = line.strip().partition(" ")
                if word in ("passes", "fails"):
                    name, _, reasons[rest.split(":")[0]] = rest.partition(": ")
                    known[name] = word
    results = {name: {"ok": "passes", "skipped": "skipped"}.get(result, "fails") for name, result in found.items()}
    if "--write" in sys.argv:
        with open(list_name, "w", encoding="utf-8") as file:
            for name, result in sorted(results.items()):
                if result != "skipped":
                    reason = f": {reasons.get(name) or 'unknown'}" if result == "fails" else ""
                    file.write(f"{result} {name}{reason}\n")
        return 0
    wrong = [f"{name}: {result}, and the list says: {known.get(name, 'skipped')}"
             for name, result in sorted(results.items()) if result != known.get(name, "skipped")]
    wrong += [f"{name}: did not run" for name in sorted(known) if name not in results]
    print(f"{len(results)} ran: {list(results.values()).count('passes')} passed, "
          f"{list(results.values()).count('skipped')} were skipped")
    if wrong:
        print(output[-8000:])
        print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
