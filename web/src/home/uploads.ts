/** Files of the user's machine that go to the agents with a task. */

import type { ContextFile } from "../api/server";

const LARGEST = 512 * 1024;

/** Read files as texts. Those that are too large or no text are named with the reason. */
export async function readUploads(chosen: File[]): Promise<{ files: ContextFile[]; failures: string[] }> {
  const files: ContextFile[] = [];
  const failures: string[] = [];
  for (const file of chosen) {
    const path = file.webkitRelativePath || file.name;
    const bytes = file.size > LARGEST ? null : await file.arrayBuffer().catch(() => undefined);
    if (bytes === null) failures.push(`${path} is larger than 512 KB.`);
    else if (bytes === undefined) failures.push(`${path} cannot be read.`);
    else {
      try {
        files.push({ path, content: new TextDecoder("utf-8", { fatal: true }).decode(bytes) });
      } catch {
        failures.push(`${path} is not a text in UTF-8.`);
      }
    }
  }
  return { files, failures };
}
