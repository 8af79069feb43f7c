// tus-js-client as a sender: uploads FILE to BASE with KEY. With STOP=N it goes silent after N bytes
// and prints where the upload is; with RESUME=URL it goes on there. Prints one line of JSON.
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import { Upload } from "tus-js-client";

const { FILE, BASE, KEY, STOP, RESUME } = process.env;
const say = (line) => {
  console.log(JSON.stringify(line));
  process.exit(line.error ? 1 : 0);
};
const answers = [];
const upload = new Upload(createReadStream(FILE), {
  endpoint: `${BASE}/api/v1/uploads`,
  uploadUrl: RESUME ?? null,
  uploadSize: statSync(FILE).size,
  chunkSize: 64 * 1024,
  retryDelays: [0, 200, 1000],
  metadata: { filename: basename(FILE), filetype: "audio/flac" },
  headers: { Authorization: `Bearer ${KEY}` },
  onAfterResponse: (request, response) => {
    answers.push(`${request.getMethod()} ${response.getStatus()}`);
    const job = response.getHeader("Segue-Job");
    if (job) upload.job = job;
  },
  onChunkComplete: (size, accepted) => {
    if (STOP && accepted >= Number(STOP)) {
      upload.abort().then(() => say({ url: upload.url, accepted, answers }));
    }
  },
  onError: (error) => say({ error: String(error), answers }),
  onSuccess: () => say({ url: upload.url, job: upload.job, answers }),
});
upload.start();
