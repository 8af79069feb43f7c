#!/usr/bin/env python3
"""Where the CPU time of an ingest goes: samples it with perf and prints the share of each part.

    encode-profile.py LADDER FILE

LADDER is the transcoder's example of that name. Every encoder has a thread named after its rendition:
what C code (libopus, FDK, libFLAC) does there is the encoder's part, the rest (quantising, packaging, the
kernel) goes into "around the encoders". Needs perf (Debian: linux-perf) and the right to use it.
"""

import collections
import re
import shutil
import subprocess
import sys
import tempfile

if not shutil.which("perf"):
    sys.exit("perf is not installed (Debian: apt-get install linux-perf)")
ladder, source = sys.argv[1:]

ENCODERS = re.compile(r"^(opus|aac)-\d+$|^flac$")
# Rust's symbols have paths, and FDK's second copy is in a namespace of its own.
OURS = re.compile(r"\b(?!segue_fdk_v3)\w+::|^<|rust|\[unknown\]")

# The first that fits, of what is no encoder.
PARTS = [
    ("kernel", re.compile(r"^\[k\]")),
    ("decode", re.compile(r"symphonia")),
    ("resample", re.compile(r"rustfft|realfft|rubato|resample")),
    ("loudness, true peak", re.compile(r"loudness")),
    ("content", re.compile(r"content::")),
    ("quantise, interleave", re.compile(r"quantise|job::|interleave")),
    ("digests", re.compile(r"sha2|sha256|digest")),
    ("packaging", re.compile(r"cmaf|encode::")),
    ("copies", re.compile(r"mem(move|cpy|set)")),
]

with tempfile.NamedTemporaryFile(prefix="encode-profile-") as recorded:
    record = ["perf", "record", "-q", "-F", "999", "-o", recorded.name, "--", ladder, source, "--ingest"]
    subprocess.run(record, check=True, stdout=subprocess.DEVNULL)
    script = ["perf", "script", "-i", recorded.name, "-F", "comm,ip,sym,dso"]
    text = subprocess.run(script, check=True, capture_output=True, text=True).stdout

parts = collections.Counter()
for line in text.splitlines():
    found = re.match(r"\s*(\S.*?)\s+([0-9a-f]+)\s+(.*)\s+\((.*)\)$", line)
    if not found:
        continue
    thread, address, symbol, library = found.groups()
    kernel = address.startswith("ffffffff") or "kernel" in library
    if ENCODERS.match(thread) and not kernel and not OURS.search(symbol):
        parts[thread] += 1
        continue
    name = f"[k] {symbol}" if kernel else symbol
    parts[next((part for part, what in PARTS if what.search(name)), "other")] += 1

whole = sum(parts.values())
encoders = sum(count for part, count in parts.items() if ENCODERS.match(part))
print(f"{whole} samples of a whole ingest, % of the CPU time")
for part, count in parts.most_common():
    inside = "in its encoder" if ENCODERS.match(part) else ""
    print(f"  {part:22}{100 * count / whole:6.1f}  {inside}")
print(f"inside the encoders: {100 * encoders / whole:.1f} %")
