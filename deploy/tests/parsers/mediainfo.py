"""What MediaInfo makes of the files named: a JSON line each."""

import json
import sys

from pymediainfo import MediaInfo

for path in sys.argv[1:]:
    info = MediaInfo.parse(path)
    track = info.audio_tracks[0].to_data()
    general = info.general_tracks[0].to_data()
    faults = [v for k, v in track.items() if track.get("conformance_errors") and k == "channelconfiguration"]
    print(
        json.dumps(
            {
                "format": track["format"],
                "rate": track["sampling_rate"],
                "samples": int(track["samples_count"]),
                "errors": int(track.get("conformance_errors", 0)) + int(general.get("conformance_errors", 0)),
                "faults": faults,
                "truncated": general.get("istruncated", "No"),
            }
        )
    )
