# examples/changelog/changelogs.py: reads Debian changelogs as streams of events.
#
# A changelog is text that many people and programs have written over thirty
# years, so nothing in it is trusted: odd encodings are replaced, entries
# without a usable date take their neighbour's, and files that are no Debian
# changelog (upstream's release notes carry the same name) give no entries.

import email.utils
import gzip
import os
import re
import subprocess
import uuid
import zlib
from collections import namedtuple
from datetime import datetime, timedelta, timezone

Release = namedtuple("Release", "stream type data metadata event_id when")

NAMESPACE = uuid.UUID("0b1c7a0e-6f3b-5d53-9f0b-5a4f2f6f6d1e")
HEADER = re.compile(r"^(\w[\w.+-]*) \(([^()\s]+)\)((?:\s+[\w.+-]+)*)\s*;(.*)$")
TRAILER = re.compile(r"^ -- ?(.*?)\s*<([^>]*)>\s*(.*?)\s*$")
PACKAGE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,99}$")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
INSTALLED = re.compile(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) status installed ([^ :]+)(?::\S+)? (\S+)$")
CHANGES_MAX = 100_000       # characters of one entry that are kept
FILE_BYTES_MAX = 64 << 20   # no changelog is as large; an unpacked bomb is
EARLIEST = datetime(1993, 1, 1, tzinfo=timezone.utc)


def read_text(path):
    """The text of a file, compressed or not; None when it cannot be read."""
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            raw = file.read(FILE_BYTES_MAX)
    except (OSError, EOFError, zlib.error):
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse_date(text):
    """An aware datetime, or None for a date that is none or cannot be true."""
    try:
        when = email.utils.parsedate_to_datetime(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=timezone.utc)
        when = when.astimezone(timezone.utc)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if when < EARLIEST or when > datetime.now(timezone.utc) + timedelta(days=1):
        return None
    return when


def parse(text):
    """The entries of one changelog as dictionaries, the newest first, as in the file."""
    entries = []
    entry = None
    for line in text.splitlines():
        header = HEADER.match(line)
        if header:
            entry = {"source": header[1], "version": header[2],
                     "distribution": header[3].strip() or "unknown",
                     "urgency": "unknown", "changes": []}
            urgency = re.search(r"urgency=\s*(\w+)", header[4], re.IGNORECASE)
            if urgency:
                entry["urgency"] = urgency[1].lower()
            continue
        if entry is None:
            # Text before the first header: this is no Debian changelog.
            if line.strip() and not entries:
                return []
            continue
        trailer = TRAILER.match(line)
        if trailer:
            entry["author"] = CONTROL.sub("", trailer[1]).strip()
            entry["email"] = CONTROL.sub("", trailer[2]).strip()
            entry["when"] = parse_date(trailer[3])
            entries.append(entry)
            entry = None
        else:
            entry["changes"].append(CONTROL.sub("", line.rstrip()))
    return entries


def releases_of(package, entries):
    """One package's events, the oldest first; a stream's dates never run backwards."""
    result = []
    seen = set()
    last = EARLIEST
    for entry in reversed(entries):
        if entry["version"] in seen:
            continue
        seen.add(entry["version"])
        given = entry["when"]
        last = max(last, given or last)
        changes = "\n".join(entry["changes"]).strip("\n")
        data = {"package": package, "source": entry["source"], "version": entry["version"],
                "distribution": entry["distribution"], "urgency": entry["urgency"],
                "author": entry["author"], "email": entry["email"],
                "date": given.isoformat() if given else None,
                "changes": changes[:CHANGES_MAX]}
        if len(changes) > CHANGES_MAX:
            data["truncated"] = True
        result.append(Release(
            stream="changelog-" + package, type="package.released", data=data,
            metadata={"source": "/usr/share/doc/" + package,
                      "actor": {"type": "person", "id": entry["email"]}},
            event_id=uuid.uuid5(NAMESPACE, f"released {package} {entry['version']}"),
            when=last))
    return result


def packages_in(root):
    """(package, its changelog files) for every directory below root."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return
    for package in names:
        if not PACKAGE.match(package):
            continue
        try:
            files = os.listdir(os.path.join(root, package))
        except OSError:
            continue
        files = [name for name in files
                 if name.lower().startswith("changelog") and name.endswith(".gz")]
        if files:
            # "changelog.Debian.amd64.gz" holds a rebuild, newer than the rest.
            files.sort(key=lambda name: (name.count("."), "Debian" in name), reverse=True)
            yield package, [os.path.join(root, package, name) for name in files]


def from_changelogs(root):
    """The events of all changelogs below root."""
    for package, paths in packages_in(root):
        entries = []
        for path in paths:
            text = read_text(path)
            if text:
                entries.extend(parse(text))
        yield from releases_of(package, entries)


def from_dpkg(log="/var/log/dpkg.log"):
    """What a machine without documentation still knows: what was installed, and when."""
    installed = {}
    for line in (read_text(log) or "").splitlines():
        match = INSTALLED.match(line)
        if match:
            when = datetime.fromisoformat(match[1]).astimezone(timezone.utc)
            installed[(match[2], match[3])] = when
    try:
        listing = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\\n"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode()
    except OSError:
        listing = ""
    for line in listing.splitlines():
        fields = line.split(" ")
        if len(fields) == 3 and fields[2] == "installed":
            installed.setdefault((fields[0], fields[1]), EARLIEST)
    for (package, version), when in installed.items():
        if PACKAGE.match(package):
            yield Release(
                stream="changelog-" + package, type="package.installed",
                data={"package": package, "version": version,
                      "date": when.isoformat() if when > EARLIEST else None},
                metadata={"source": "dpkg"},
                event_id=uuid.uuid5(NAMESPACE, f"installed {package} {version}"), when=when)
