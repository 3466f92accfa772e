/** Numbers, times and names as people read them. */

const NAMES: Record<string, string> = {
  running: "Running", waiting: "Needs you", verified: "Verified", answered: "Answered", unverified: "Not verified",
  cancelled: "Cancelled", failed: "Failed", budget: "Budget spent", new: "New", queued: "Queued",
};

/** Name a status. */
export function statusName(status: string): string {
  return NAMES[status] ?? status;
}

/** Format a duration, such as `8.2 s` or `3 min 5 s`. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Format a number of tokens, such as `850` or `12.4k`. */
export function tokens(count: number): string {
  if (count < 1000) return String(count);
  return count < 1_000_000 ? `${(count / 1000).toFixed(1)}k` : `${(count / 1_000_000).toFixed(1)}M`;
}

/** Format a price. Small ones keep two digits that count. */
export function dollars(cost: number): string {
  return cost !== 0 && cost < 0.1 ? `$${cost.toFixed(4)}` : `$${cost.toFixed(2)}`;
}

/** Count things, such as `1 file` or `3 files`. */
export function plural(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Name the day of a time: Today, Yesterday, a weekday, or a date. */
export function day(time: string): string {
  const then = new Date(time);
  const midnight = (date: Date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  const days = Math.round((midnight(new Date()) - midnight(then)) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days < 7) return then.toLocaleDateString("en", { weekday: "long" });
  return then.toLocaleDateString("en", { day: "numeric", month: "long", year: "numeric" });
}

/** Tell how long ago a time was, such as `5 min ago`. */
export function ago(time: string, now = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(time).toLocaleDateString("en", { day: "numeric", month: "short" });
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.split("/").filter(Boolean).at(-1) ?? path;
}
