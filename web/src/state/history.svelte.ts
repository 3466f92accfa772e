/** The list of threads. It is read again every few seconds, because threads are started elsewhere too. */

import { listThreads, type ThreadFilter, type ThreadSummary } from "../api/server";
import { baseName } from "../text/format";
import { connection } from "./connection.svelte";
import { notify } from "./notifications";
import { place } from "./place.svelte";

const SECONDS = { shown: 2.5, hidden: 15, offline: 1 };
const PAGE = 200;
const MOST = 1000;
export const ALL: ThreadFilter = { words: "", state: "", repo: "" };

const WAITING: ThreadFilter = { ...ALL, state: "waiting" };

class History {
  /** The newest threads. */
  threads = $state.raw<ThreadSummary[]>([]);
  /** Those that the filter finds, among all that are stored. */
  matching = $state.raw<ThreadSummary[]>([]);
  filter = $state.raw(ALL);
  loaded = $state(false);
  /** What became of a thread that is gone from the list. */
  said = $state("");
  limit = $state(PAGE);
  #timer = 0;
  #text = "";

  /** Read the list now, and go on reading it. */
  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    const { filter } = this;
    try {
      const newest = await connection.watch(listThreads(this.limit, ALL, AbortSignal.timeout(10_000)));
      // What waits for the user is listed however old it is.
      const waiting = newest.length < this.limit ? [] : await connection.watch(listThreads(PAGE, WAITING, AbortSignal.timeout(10_000)));
      const known = new Set(newest.map((thread) => thread.id));
      const threads = [...newest, ...waiting.filter((thread) => !known.has(thread.id))];
      const matching = this.filtered ? await connection.watch(listThreads(this.limit, filter, AbortSignal.timeout(10_000))) : threads;
      if (filter !== this.filter) return; // the user has typed on, and that is asked for
      const text = JSON.stringify([threads, matching]);
      // A list that is the same must not be drawn again.
      if (text !== this.#text) {
        this.#notify(threads);
        this.threads = threads;
        this.matching = matching;
      }
      this.#text = text;
      this.loaded = true;
    } catch {
      // The connection knows. The list stays as it was.
    }
    clearTimeout(this.#timer);
    if (connection.keyNeeded) return;
    const pace = !connection.online ? SECONDS.offline : document.hidden ? SECONDS.hidden : SECONDS.shown;
    this.#timer = window.setTimeout(() => void this.refresh(), pace * 1000);
  }

  /** Notify of threads that have come to wait for the user meanwhile, except the one that is shown. */
  #notify(threads: ThreadSummary[]): void {
    const before = new Map(this.threads.map((thread) => [thread.id, thread.status]));
    for (const thread of threads) {
      const known = before.get(thread.id);
      if (known && known !== "waiting" && thread.status === "waiting" && thread.id !== place.thread) {
        notify("waiting", titleOf(thread));
      }
    }
  }

  /** Look for threads among all that are stored, also for those that are not in the list. */
  search(filter: ThreadFilter): void {
    this.filter = filter;
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.refresh(), 120);
  }

  get filtered(): boolean {
    return Object.values(this.filter).some((value: string) => value.trim() !== "");
  }

  /** True if there may be older threads than those in the list. */
  get more(): boolean {
    return this.matching.length >= this.limit && this.limit < MOST;
  }

  showOlder(): void {
    this.limit = Math.min(MOST, this.limit + PAGE);
    void this.refresh();
  }

  find(id: string): ThreadSummary | undefined {
    return this.threads.find((thread) => thread.id === id) ?? this.matching.find((thread) => thread.id === id);
  }

  /** The repositories of the threads, the one that was used last first. */
  get repositories(): string[] {
    return [...new Set(this.threads.map((thread) => thread.repo))].filter((repo) => repo && !isScratch(repo));
  }
}

/** Return true for a repository that was made for a task without one. */
export function isScratch(repo: string): boolean {
  return /\/scratch\/[^/]+$/.test(repo);
}

/** The name that a repository is shown by. */
export function repositoryName(repo: string): string {
  return isScratch(repo) ? "new repository" : baseName(repo);
}

/** The name that a thread is shown by. */
export function titleOf(thread: ThreadSummary): string {
  return thread.title || thread.task || thread.id;
}

export const history = new History();
addEventListener("visibilitychange", () => {
  if (!document.hidden && history.loaded) void history.refresh();
});
