/** The rows of a file's change, in pieces that are drawn only near the window. */

import { pairsOf, type FileChange, type Line, type Pair } from "./patch";

export type Row = { header: string } | { line: Line } | { pair: Pair };

const ROWS = 120;

/** Cut a file into pieces of at most ROWS rows. */
export function chunksOf(file: FileChange, split: boolean): Row[][] {
  const chunks: Row[][] = [];
  for (const hunk of file.hunks) {
    const lines: Row[] = split ? pairsOf(hunk.lines).map((pair) => ({ pair })) : hunk.lines.map((line) => ({ line }));
    const rows: Row[] = [{ header: hunk.header }, ...lines];
    for (let at = 0; at < rows.length; at += ROWS) chunks.push(rows.slice(at, at + ROWS));
  }
  return chunks;
}
