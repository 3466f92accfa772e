/** A unified diff as files with rows, read by diff2html's parser. */

import { parse } from "diff2html/lib-esm/diff-parser";
import { LineType, type DiffFile } from "diff2html/lib-esm/types";

export interface Line {
  kind: "same" | "added" | "removed";
  old: number | null;
  new: number | null;
  text: string;
}

export interface Hunk {
  header: string;
  /** The first line in each version. */
  old: number;
  new: number;
  lines: Line[];
}

export interface FileChange {
  path: string;
  before: string;
  status: "added" | "removed" | "renamed" | "changed";
  binary: boolean;
  added: number;
  removed: number;
  hunks: Hunk[];
}

/** Two lines side by side. A line without a partner stands alone. */
export interface Pair {
  left: Line | null;
  right: Line | null;
}

/** Read the files of a diff, in its order. */
export function readPatch(text: string): FileChange[] {
  return parse(text, { matching: "none" } as Parameters<typeof parse>[1]).map(fileOf);
}

function fileOf(file: DiffFile): FileChange {
  const gone = file.isDeleted === true;
  return {
    path: gone ? file.oldName : file.newName,
    before: file.oldName,
    status: file.isNew ? "added" : gone ? "removed" : file.isRename ? "renamed" : "changed",
    binary: file.isBinary === true,
    added: file.addedLines,
    removed: file.deletedLines,
    hunks: file.blocks.map((block) => ({
      header: block.header,
      old: block.oldStartLine,
      new: block.newStartLine,
      lines: block.lines.map((line) => ({
        kind: line.type === LineType.INSERT ? "added" : line.type === LineType.DELETE ? "removed" : "same",
        old: line.oldNumber ?? null,
        new: line.newNumber ?? null,
        text: line.content.slice(1),
      })),
    })),
  };
}

/** Put removed lines beside the added ones that follow them. */
export function pairsOf(lines: Line[]): Pair[] {
  const pairs: Pair[] = [];
  let removed: Line[] = [];
  let added: Line[] = [];
  const flush = () => {
    for (let at = 0; at < Math.max(removed.length, added.length); at++) {
      pairs.push({ left: removed[at] ?? null, right: added[at] ?? null });
    }
    removed = [];
    added = [];
  };
  for (const line of lines) {
    if (line.kind === "removed") {
      if (added.length) flush();
      removed.push(line);
    } else if (line.kind === "added") {
      added.push(line);
    } else {
      flush();
      pairs.push({ left: line, right: line });
    }
  }
  flush();
  return pairs;
}
