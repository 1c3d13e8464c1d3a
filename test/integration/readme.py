#!/usr/bin/python3
# test/integration/readme.py: the SQL in README.md and docs/ runs as it is written.
#
# Each document's ```sql blocks run in order in a database of their own, each block in a session of its own; a TAP line a
# block. A block fails on the first error. What it promises is held against what it does: a comment `=> VALUE` must be a
# line of its output (several in their order), a comment `raises CODE` means that the block ends with that SQLSTATE.
# Other blocks (```sh, ```text, ```psql, ```conf) are not run. At the end usher.check() must hold. Roles made by the
# examples are dropped.
import glob
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", ".."))
PSQL = os.path.join(os.environ.get("USHER_BIN") or sys.exit("run this with ./dev test readme"), "psql")
BLOCK_SECONDS_MAX = 60
DATABASE = "readme"


def psql(script, database):
    """Run a script; returns (status, lines of output, text of the errors)."""
    done = subprocess.run(
        [PSQL, "-X", "-q", "-A", "-t", "-d", database, "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-f", "-"],
        input=script, capture_output=True, text=True, timeout=BLOCK_SECONDS_MAX)
    return done.returncode, done.stdout.splitlines(), done.stderr


def blocks(path):
    """The ```sql blocks of a document: (first line, text)."""
    found, start, lines = [], None, []
    with open(path) as document:
        for number, line in enumerate(document, 1):
            if start is None and line.strip() == "```sql":
                start, lines = number + 1, []
            elif start is not None and line.startswith("```"):
                found.append((start, "".join(lines)))
                start = None
            elif start is not None:
                lines.append(line)
    if start is not None:
        sys.exit("%s:%d: a block does not end" % (path, start))
    return found


def verdict(text, status, output, errors):
    """What is wrong with a block that ran; None: nothing."""
    expected_error = re.search(r"--.*\braises ([0-9A-Z]{5})\b", text)
    if expected_error:
        code = expected_error.group(1)
        if status == 0:
            return "should raise " + code
        if not re.search(r"ERROR:\s+%s:" % code, errors):
            return "should raise %s, but: %s" % (code, errors.strip())
    elif status != 0:
        return errors.strip()
    rest = list(output)
    for value in re.findall(r"--.*?=> (.*?)\s*$", text, re.M):
        if value not in rest:
            return "no line \"%s\" in the output (in its place): %s" % (value, output)
        rest = rest[rest.index(value) + 1:]
    return None


def report(name, problem):
    print("%s %s" % ("not ok" if problem else "ok", name), flush=True)
    for line in (problem or "").splitlines():
        print("# " + line)
    return problem is not None


def roles():
    return set(psql("SELECT rolname FROM pg_roles", "postgres")[1])


def run_document(path):
    name = os.path.relpath(path, ROOT)
    failures = 0
    psql("DROP DATABASE IF EXISTS %s" % DATABASE, "postgres")
    status, _, errors = psql("CREATE DATABASE %s TEMPLATE template0;\n\\connect %s\n"
                             "CREATE EXTENSION pg_usher;" % (DATABASE, DATABASE), "postgres")
    if status != 0:
        return report(name + ": database", errors)
    for line, text in blocks(path):
        try:
            problem = verdict(text, *psql(text, DATABASE))
        except subprocess.TimeoutExpired:
            problem = "did not end in %d seconds" % BLOCK_SECONDS_MAX
        failures += report("%s:%d" % (name, line), problem)
    status, output, errors = psql("SELECT invariant, detail FROM usher.check() WHERE NOT ok", DATABASE)
    failures += report(name + ": invariants hold", "\n".join(output) + errors if output or status else None)
    psql("DROP DATABASE %s" % DATABASE, "postgres")
    return failures


def main():
    documents = [path for path in [os.path.join(ROOT, "README.md")] + sorted(glob.glob(ROOT + "/docs/*.md")) if blocks(path)]
    before = roles()
    failures = sum(run_document(path) for path in documents)
    for role in sorted(roles() - before - {"usher_reader", "usher_writer", "usher_admin"}):
        psql('DROP ROLE "%s"' % role, "postgres")
    failures += report("the documents have examples", None if documents else "no ```sql block found")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
