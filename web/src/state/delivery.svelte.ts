/** What a thread has delivered, on its way into the checkout and back. */

import { applyResult, readChanges, undoApply, type Changes, type Choice } from "../api/server";
import { plural } from "../text/format";
import { connection, reasonOf } from "./connection.svelte";

export class Delivery {
  /** What is left to apply, once it has been read. */
  changes = $state.raw<Changes | null>(null);
  busy = $state(false);
  said = $state("");
  failure = $state("");

  constructor(readonly thread: string) {}

  /** Read what is left to apply. */
  async read(): Promise<void> {
    try {
      this.changes = await connection.watch(readChanges(this.thread));
    } catch {
      this.changes = null; // an action says why
    }
  }

  /** Apply everything that is left, or what is chosen. */
  apply(unverified: boolean, choice?: Choice): Promise<boolean> {
    return this.act(async () => {
      const { paths } = await applyResult(this.thread, { unverified, ...choice });
      return paths.length ? `Applied ${plural(paths.length, "file")} to your checkout: ${paths.join(", ")}` : "Nothing left to apply: your checkout has this change.";
    });
  }

  /** Take back what was applied last. */
  undo(): Promise<boolean> {
    return this.act(async () => {
      const { paths, committed } = await undoApply(this.thread);
      const noted = committed.length ? ` You have committed them since, so they differ from your last commit now: ${committed.join(", ")}` : "";
      return `Took back ${plural(paths.length, "file")}: ${paths.join(", ")}.${noted}`;
    });
  }

  /** Do something, and keep what it says. Returns false if it failed. */
  async act(work: () => Promise<string>): Promise<boolean> {
    this.busy = true;
    this.failure = this.said = "";
    try {
      this.said = await connection.watch(work());
      return true;
    } catch (error) {
      this.failure = reasonOf(error);
      return false;
    } finally {
      await this.read();
      this.busy = false;
    }
  }
}
