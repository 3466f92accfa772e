/** The pieces of a line: its syntax colours, and the words that differ from its partner. */

import { diffWordsWithSpace } from "diff";
import type { Line } from "./patch";
import { pairsOf } from "./patch";

export interface Piece {
  text: string;
  className: string;
  changed?: boolean;
}

type Span = [start: number, end: number];

const LONGEST = 400;
const LEAST_COMMON = 0.35;

/** The parts of paired lines that differ. Lines that have little in common differ as a whole, without parts. */
export function changedSpans(lines: Line[]): Map<Line, Span[]> {
  const spans = new Map<Line, Span[]>();
  for (const { left, right } of pairsOf(lines)) {
    if (!left || !right || left === right || left.text.length > LONGEST || right.text.length > LONGEST) continue;
    const parts = diffWordsWithSpace(left.text, right.text);
    const common = parts.reduce((sum, part) => sum + (part.added || part.removed ? 0 : part.value.trim().length), 0);
    if (common < LEAST_COMMON * Math.max(left.text.trim().length, right.text.trim().length)) continue;
    const both = { left: [] as Span[], right: [] as Span[] };
    let [old, fresh] = [0, 0];
    for (const { value, added, removed } of parts) {
      if (removed) both.left.push([old, old + value.length]);
      if (added) both.right.push([fresh, fresh + value.length]);
      if (!added) old += value.length;
      if (!removed) fresh += value.length;
    }
    spans.set(left, both.left);
    spans.set(right, both.right);
  }
  return spans;
}

/** Cut coloured pieces where a changed part begins or ends. */
export function cutAt(pieces: Piece[], spans: Span[]): Piece[] {
  if (!spans.length) return pieces;
  const cut: Piece[] = [];
  let at = 0;
  for (const { text, className } of pieces) {
    let from = 0;
    while (from < text.length) {
      const here = at + from;
      const inside = spans.find(([start, end]) => start <= here && here < end);
      const next = inside ? inside[1] : Math.min(...spans.map(([start]) => (start > here ? start : Infinity)));
      const to = Math.min(text.length, next - at);
      cut.push({ text: text.slice(from, to), className, changed: Boolean(inside) });
      from = to;
    }
    at += text.length;
  }
  return cut;
}
