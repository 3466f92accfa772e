"""The reporter that node's runner loads from its command line. Its own JUnit report names no files."""

import base64

_SOURCE = """\
import { inspect } from "node:util";
import { resolve } from "node:path";

const LONGEST = 4000;

export default async function* (events) {
  const names = [];
  const errors = new Map();
  yield JSON.stringify({ names: [] }) + "\\n"; // a suite without tests leaves a report too
  for await (const { type, data } of events) {
    if (type === "test:start") {
      names.length = data.nesting;
      names.push(data.name);
    }
    if (type === "test:stderr" && data.file) {
      errors.set(data.file, ((errors.get(data.file) ?? "") + data.message).slice(-LONGEST));
    }
    if (type !== "test:pass" && type !== "test:fail") continue;
    const { details, file, name, nesting } = data;
    const failed = type === "test:fail";
    const error = details.error;
    const ofParts = details.type === "suite" && (!failed || error?.failureType === "subtestsFailed");
    if (ofParts) continue;
    const whole = nesting === 0 && (!file || resolve(name) === resolve(file));
    const cause = error?.cause ?? error;
    const text = typeof cause === "string" ? cause : inspect(cause, { depth: 3 });
    const path = file ?? resolve(name);
    const skipped = data.skip !== undefined || data.todo !== undefined;
    yield JSON.stringify({
      file: path,
      names: whole ? [] : [...names.slice(0, nesting), name],
      outcome: skipped ? "skipped" : failed ? (whole ? "error" : "failed") : "passed",
      message: failed ? (whole && errors.get(path)) || text : "",
      seconds: details.duration_ms / 1000,
    }) + "\\n";
  }
}
"""

NODE_REPORTER = "data:text/javascript;base64," + base64.b64encode(_SOURCE.encode()).decode()
"""The reporter as an address, from which node imports it. It writes a line for each case."""
