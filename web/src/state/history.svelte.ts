/** The list of threads. It is read again every few seconds, because threads are started elsewhere too. */

import { listThreads, type ThreadSummary } from "../api/server";
import { baseName } from "../text/format";
import { connection } from "./connection.svelte";
import { notify } from "./notifications";
import { place } from "./place.svelte";

const SECONDS = { shown: 2.5, hidden: 15, offline: 1 };

class History {
  threads = $state.raw<ThreadSummary[]>([]);
  loaded = $state(false);
  #timer = 0;
  #text = "";

  /** Read the list now, and go on reading it. */
  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      const threads = await connection.watch(listThreads(AbortSignal.timeout(10_000)));
      const text = JSON.stringify(threads);
      // A list that is the same must not be drawn again.
      if (text !== this.#text) {
        this.#notify(threads);
        this.threads = threads;
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

  find(id: string): ThreadSummary | undefined {
    return this.threads.find((thread) => thread.id === id);
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
