// What mp4box.js makes of the files named: a JSON line each.

import { readFileSync } from "node:fs";

import { createFile, Log } from "mp4box";

for (const path of process.argv.slice(2)) {
  const words = [];
  for (const level of ["warn", "error"]) Log[level] = (...rest) => words.push(rest.join(" "));
  const file = createFile();
  let movie;
  file.onReady = (info) => (movie = info);
  file.onError = (...rest) => words.push(rest.join(" "));
  const { buffer, byteOffset, byteLength } = readFileSync(path);
  file.appendBuffer(Object.assign(buffer.slice(byteOffset, byteOffset + byteLength), { fileStart: 0 }), true);
  file.flush();
  const [track] = movie.tracks;
  console.log(
    JSON.stringify({
      codec: track.codec,
      rate: track.audio.sample_rate,
      channels: track.audio.channel_count,
      samples: track.nb_samples,
      edits: track.edits.map((edit) => [edit.media_time, edit.segment_duration]),
      boxes: file.boxes.map((box) => box.type),
      words,
    }),
  );
}
