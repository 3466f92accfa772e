/** The rows of a file's change, in pieces that are drawn only near the window. */

import type { Gap } from "./gaps";
import { pairsOf, type FileChange, type Hunk, type Line, type Pair } from "./patch";

/** The head of a hunk, or the end of the file. `hidden` counts the lines above it that are left out. */
export interface Head {
  gap: number;
  hidden: number;
  hunk: Hunk | null;
}

export type Row = { head: Head } | { line: Line } | { pair: Pair };

const ROWS = 120;

/** Cut a file into pieces of at most ROWS rows. */
export function chunksOf(file: FileChange, split: boolean, gaps: Gap[]): Row[][] {
  const rowsOf = (lines: Line[]): Row[] => (split ? pairsOf(lines).map((pair) => ({ pair })) : lines.map((line) => ({ line })));
  const chunks: Row[][] = [];
  const add = (rows: Row[]) => {
    for (let at = 0; at < rows.length; at += ROWS) chunks.push(rows.slice(at, at + ROWS));
  };
  file.hunks.forEach((hunk, number) => {
    const gap = gaps[number];
    const head = { head: { gap: number, hidden: gap?.hidden ?? 0, hunk } };
    add([...rowsOf(gap?.top ?? []), head, ...rowsOf([...(gap?.bottom ?? []), ...hunk.lines])]);
  });
  const last = gaps.at(-1);
  if (last) add([...rowsOf(last.top), ...(last.hidden ? [{ head: { gap: gaps.length - 1, hidden: last.hidden, hunk: null } }] : [])]);
  return chunks;
}
