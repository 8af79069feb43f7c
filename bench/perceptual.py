#!/usr/bin/env python3
"""How the renditions sound, by ViSQOL's audio mode (ITU-R-like MOS-LQO, 1 to about 4.7): each lossy rung
beside the same bit rate of ffmpeg 9's libopus or aac, over excerpts of real music where it is installed
(Debian's wesnoth-1.16-music), else of synthesised sound. Fails where a rung's mean is worse than
ffmpeg's by more than the noise of the measurement.

    bench/perceptual.py [--segue PROGRAM] [--ffmpeg PROGRAM] [--seconds 5] [--pieces 4]
                        [--rungs aac-64,…]

The noise: ffmpeg's own rung is encoded a second time with the frames cut elsewhere in the sound (7 ms
later), which nobody can call better or worse. Twice the standard error of that difference over the
excerpts, and 0.02 at least, is what a rung may stay behind.

Needs visqol-python and numba, which bench/perceptual sees to.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile

from visqol import VisqolApi

MUSIC = pathlib.Path("/usr/share/games/wesnoth/1.16/data/core/music")
PIECES = ["battle", "knolls", "elvish-theme", "main_menu", "love_theme", "the_city_falls"]
SYNTHESISED = ["pluck A3 pluck E4 tremolo 3 40", "pinknoise tremolo 5 80", "sawtooth 220 sine 1300", "sine 200-9000"]
RUNGS = {
    "opus-32": ["libopus", "32k"],
    "opus-64": ["libopus", "64k"],
    "opus-96": ["libopus", "96k"],
    "opus-160": ["libopus", "160k"],
    "aac-64": ["aac", "64k"],
    "aac-128": ["aac", "128k"],
    "aac-256": ["aac", "256k"],
}
SHIFT_S = 0.007
LEAST = 0.02

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
target = os.environ.get("CARGO_TARGET_DIR", os.path.expanduser("~/.cache/segue/target"))
parser.add_argument("--segue", default=os.environ.get("SEGUE", f"{target}/release/segue"))
parser.add_argument("--ffmpeg", default="ffmpeg-9")
parser.add_argument("--seconds", type=float, default=5)
parser.add_argument("--pieces", type=int, default=4)
parser.add_argument("--rungs", type=lambda names: names.split(","), default=list(RUNGS), help="all by default")
args = parser.parse_args()


def ffmpeg(*arguments: object):
    subprocess.run([args.ffmpeg, "-v", "error", "-y", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


def excerpts(folder: pathlib.Path) -> list[pathlib.Path]:
    """Stereo of 16 bits at 48 kHz: what every encoder takes without resampling."""
    files = []
    for n in range(args.pieces):
        file = folder / f"excerpt-{n}.wav"
        if MUSIC.exists():
            source = MUSIC / f"{PIECES[n % len(PIECES)]}.ogg"
            ffmpeg("-ss", 45, "-t", args.seconds, "-i", source, "-ar", 48000, "-ac", 2, "-c:a", "pcm_s16le", file)
        else:
            sound = SYNTHESISED[n % len(SYNTHESISED)].split()
            make = ["sox", "-R", "-n", "-r", "48000", "-c", "2", "-b", "16", str(file), "synth", str(args.seconds)]
            subprocess.run([*make, *sound, "gain", "-6"], check=True)
        files.append(file)
    return files


def ours(file: pathlib.Path, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The renditions of an excerpt."""
    data = folder / f"{file.stem}-data"
    command = [args.segue, "ingest", "--quiet", "--data", data, file]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {path.stem: path for path in data.rglob("*.mp4")}


def theirs(file: pathlib.Path, rung: str, shift: float) -> pathlib.Path:
    codec, rate = RUNGS[rung]
    made = file.with_suffix(f".{rung}-{shift}.mp4")
    ffmpeg("-ss", shift, "-i", file, "-c:a", codec, "-b:a", rate, made)
    return made


visqol = VisqolApi()
visqol.create(mode="audio")


def score(reference: pathlib.Path, coded: pathlib.Path) -> float:
    decoded = coded.with_suffix(".decoded.wav")
    ffmpeg("-i", coded, "-ar", 48000, "-c:a", "pcm_s16le", decoded)
    return visqol.measure(str(reference), str(decoded)).moslqo


with tempfile.TemporaryDirectory(prefix="perceptual-") as name:
    directory = pathlib.Path(name)
    files = excerpts(directory)
    what = "music of Wesnoth" if MUSIC.exists() else "synthesised sound (no wesnoth-1.16-music here)"
    print(f"{len(files)} excerpts of {args.seconds:g} s, {what}; MOS-LQO, mean")
    print(f"{'':10}{'Segue':>8}{'ffmpeg':>8}{'ahead':>8}{'noise':>8}")
    renditions = [ours(file, directory) for file in files]
    behind = []
    for rung in args.rungs:
        here, there, again = [], [], []
        for file, made in zip(files, renditions, strict=True):
            if rung not in made:
                continue  # The excerpt doesn't fill it.
            here.append(score(file, made[rung]))
            there.append(score(file, theirs(file, rung, 0)))
            again.append(score(file, theirs(file, rung, SHIFT_S)))
        if len(here) < 2:
            print(f"{rung:10}   in {len(here)} of the excerpts only")
            continue
        noise = statistics.stdev(a - b for a, b in zip(there, again, strict=True)) / len(here) ** 0.5
        noise = max(LEAST, 2 * noise)
        ahead = statistics.mean(here) - statistics.mean(there)
        print(f"{rung:10}{statistics.mean(here):8.3f}{statistics.mean(there):8.3f}{ahead:+8.3f}{noise:8.3f}", flush=True)
        if ahead < -noise:
            behind.append(rung)
    if behind:
        raise SystemExit(f"worse than ffmpeg at the same bit rate: {', '.join(behind)}")
