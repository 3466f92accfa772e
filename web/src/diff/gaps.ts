/** The unchanged lines around the hunks of a file, which a diff leaves out. */

import type { FileChange, Hunk, Line } from "./patch";

const CONTEXT = 3;

/** The lines of a gap that are shown: so many below the hunk above it, and so many above the next one. */
export interface Opened {
  top: number;
  bottom: number;
}

export interface Gap {
  top: Line[];
  /** Number of lines that stay hidden. -1 for those after the last hunk while the file is not read. */
  hidden: number;
  bottom: Line[];
}

/** Return the first line of a gap in both versions, and its size. The last gap ends with the file. */
function placeOf(file: FileChange, number: number, size: number | null): { old: number; new: number; count: number } {
  const above = file.hunks[number - 1];
  const next = file.hunks[number];
  const old = above ? above.old + above.lines.filter((line) => line.kind !== "added").length : 1;
  const fresh = above ? above.new + above.lines.filter((line) => line.kind !== "removed").length : 1;
  const count = next ? next.new - fresh : size !== null ? size + 1 - fresh : endsFile(above) ? 0 : -1;
  return { old, new: fresh, count };
}

/** True if no line follows a hunk, as git shows three unchanged lines after a change where there are so many. */
function endsFile(hunk: Hunk | undefined): boolean {
  return hunk !== undefined && hunk.lines.slice(-CONTEXT).some((line) => line.kind !== "same");
}

/** List the gaps of a file: one before each hunk, and one after the last. `text` are its lines, once they are read. */
export function gapsOf(file: FileChange, text: string[] | null, opened: Map<number, Opened>): Gap[] {
  if (file.status === "added" || file.status === "removed") return [];
  return Array.from({ length: file.hunks.length + 1 }, (_, number) => {
    const place = placeOf(file, number, text ? text.length : null);
    if (!text || place.count <= 0) return { top: [], hidden: place.count, bottom: [] };
    const { top, bottom } = opened.get(number) ?? { top: 0, bottom: 0 };
    const line = (at: number): Line => ({ kind: "same", old: place.old + at, new: place.new + at, text: text[place.new + at - 1] ?? "" });
    const shownTop = Math.min(top, place.count);
    const shownBottom = Math.min(bottom, place.count - shownTop);
    return {
      top: Array.from({ length: shownTop }, (_, at) => line(at)),
      hidden: place.count - shownTop - shownBottom,
      bottom: Array.from({ length: shownBottom }, (_, at) => line(place.count - shownBottom + at)),
    };
  });
}
