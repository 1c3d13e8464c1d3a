#!/usr/bin/python3
# test/integration/changelog.py: the example's importer on changelogs that lie.
#
# Parses malformed changelogs, and imports a small set twice and a third time
# after one package got a new release.  Prints TAP lines.

import gzip
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLE = os.path.join(ROOT, "examples", "changelog")
sys.dont_write_bytecode = True
sys.path.insert(0, EXAMPLE)

import changelogs  # noqa: E402

ENTRY = """{package} ({version}) unstable; urgency={urgency}

  * {text}

 -- A Person <person@example.org>  {date}

"""
failures = 0


def expect(name, ok, detail=""):
    global failures
    print(("ok " if ok else "not ok ") + name)
    if not ok:
        failures += 1
        print("# " + str(detail).replace("\n", "\n# "))


def entry(version, date="Mon, 02 Mar 2020 10:00:00 +0100", package="alpha", urgency="low", text="change"):
    return ENTRY.format(**locals())


def write(directory, package, text, name="changelog.Debian.gz"):
    os.makedirs(os.path.join(directory, package), exist_ok=True)
    raw = text if isinstance(text, bytes) else text.encode()
    with open(os.path.join(directory, package, name), "wb") as file:
        file.write(gzip.compress(raw) if name.endswith(".gz") else raw)


def releases(directory):
    return list(changelogs.from_changelogs(directory))


def test_parser(directory):
    write(directory, "alpha", entry("2.0", "Tue, 03 Mar 2020 10:00:00 +0000", urgency="high") + entry("1.0"))
    found = releases(directory)
    expect("releases come oldest first", [r.data["version"] for r in found] == ["1.0", "2.0"], found)
    expect("date, author and urgency are read",
           (found[1].data["date"], found[1].data["author"], found[1].data["urgency"]) ==
           ("2020-03-03T10:00:00+00:00", "A Person", "high"), found[1])

    write(directory, "alpha", entry("3", "not a date") + entry("2", "Tue, 99 Foo 20200 99:99") + entry("1"))
    found = releases(directory)
    expect("a bad date takes its neighbour's", len(found) == 3 and len({r.when for r in found}) == 1, found)

    write(directory, "alpha", entry("2", "Tue, 03 Mar 2015 10:00:00 +0000") + entry("1"))
    found = releases(directory)
    expect("a stream's dates never run backwards", found[0].when <= found[1].when, found)

    write(directory, "alpha", entry("1", text="nul \0 bell \a caf\u00e9").encode("latin-1"))
    found = releases(directory)
    expect("odd encodings and control characters", found[0].data["changes"].strip() == "* nul  bell  caf\u00e9", found)

    write(directory, "alpha", entry("1", text="long " * 100_000))
    found = releases(directory)
    expect("an endless entry is cut", found[0].data.get("truncated") is True, len(found[0].data["changes"]))

    write(directory, "alpha", "Release notes of 1.0\n====\n\n * better\n")
    expect("upstream's notes give nothing", releases(directory) == [])
    write(directory, "alpha", entry("1") + "alpha (2) unstable; urgency=low\n\n  * no trailer\n")
    expect("an entry without an end is left out", len(releases(directory)) == 1, releases(directory))
    with open(os.path.join(directory, "alpha", "changelog.Debian.gz"), "wb") as file:
        file.write(gzip.compress(entry("1").encode())[:-12])
    expect("a damaged file gives nothing", releases(directory) == [], releases(directory))
    shutil.rmtree(os.path.join(directory, "alpha"))
    expect("no documentation at all", releases(directory) == [] and releases("/nonexistent") == [])


def psql(query, database):
    return subprocess.run([os.path.join(os.environ["USHER_BIN"], "psql"), "-X", "-q", "-A", "-t", "-d", database,
                           "-v", "ON_ERROR_STOP=1", "-c", query], check=True, stdout=subprocess.PIPE,
                          universal_newlines=True).stdout.strip()


def run_import(directory, database):
    return subprocess.run([os.path.join(EXAMPLE, "import.py"), "--dsn", "dbname=" + database, "--root", directory,
                           "--batch", "7", "--live", "3"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, check=False)


def test_import(directory, database):
    for number in range(1, 6):
        write(directory, f"package{number}", "".join(
            entry(str(version), f"Mon, 02 Mar {2000 + version} 10:00:00 +0000", package=f"package{number}")
            for version in range(number * 2, 0, -1)))
    done = run_import(directory, database)
    expect("the first import", done.returncode == 0 and "appended 30 events of 5 packages" in done.stdout, done.stdout)
    done = run_import(directory, database)
    expect("again, nothing is appended", done.returncode == 0 and "nothing new" in done.stdout, done.stdout)
    write(directory, "package1", entry("9", "Mon, 02 Mar 2020 10:00:00 +0000", package="package1") +
          entry("2", package="package1") + entry("1", package="package1"))
    done = run_import(directory, database)
    expect("a new release is appended alone", "appended 1 events of 1 packages" in done.stdout, done.stdout)
    versions = psql("SELECT string_agg(data->>'version', ' ' ORDER BY version)"
                    " FROM usher.read_stream('changelog-package1')", database)
    expect("the stream is in order", versions == "1 2 9", versions)
    backwards = psql("SELECT count(*) FROM (SELECT data->>'date' < lag(data->>'date') OVER (ORDER BY position) AS back"
                     " FROM usher.read_category('changelog', 0, 30)) d WHERE back", database)
    expect("the log is in order of time", backwards == "0", backwards)


def main():
    directory = tempfile.mkdtemp()
    database = "usher_changelog"
    try:
        test_parser(directory)
        psql(f"DROP DATABASE IF EXISTS {database} (FORCE)", "postgres")
        psql(f"CREATE DATABASE {database}", "postgres")
        psql("CREATE EXTENSION pg_usher", database)
        test_import(directory, database)
        psql(f"DROP DATABASE {database} (FORCE)", "postgres")
    finally:
        shutil.rmtree(directory)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
