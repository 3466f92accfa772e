/** A thread as a conversation: its turns, made from the events of its log. */

import { followThread } from "../../client.js";
import type { LogEvent } from "../api/events";
import { readEvents } from "../api/server";
import { connection, isAborted, reasonOf } from "./connection.svelte";
import { Delivery } from "./delivery.svelte";
import { LogBook } from "./logbook.svelte";
import { Turn } from "./turn.svelte";

export class Conversation {
  turns = $state.raw<Turn[]>([]);
  repo = $state("");
  loaded = $state(false);
  failure = $state("");
  missing = $state(false);
  readonly log = new LogBook();
  readonly delivery: Delivery;

  #queued: LogEvent[] = [];
  #timer = 0;
  #controller = new AbortController();

  constructor(readonly id: string) {
    this.delivery = new Delivery(id);
    void this.#follow();
  }

  /** Stop following the thread. */
  close(): void {
    this.#controller.abort();
    clearTimeout(this.#timer);
  }

  get newest(): Turn | null {
    return this.turns.at(-1) ?? null;
  }

  /** The newest turn that has made a branch. */
  get delivering(): Turn | null {
    return this.turns.findLast((turn) => turn.end?.branch) ?? null;
  }

  get status(): string {
    return this.newest?.status ?? "new";
  }

  async #follow(): Promise<void> {
    const { signal } = this.#controller;
    try {
      const stored = await this.#stored();
      if (signal.aborted) return;
      this.#take(stored);
      this.loaded = true;
      const onConnection = (connected: boolean) => (connection.online = connected);
      const onEvent = (event: unknown) => this.#queue(event as LogEvent);
      await connection.watch(followThread(this.id, onEvent, { after: stored.at(-1)?.seq ?? 0, signal, onConnection }));
    } catch (error) {
      if (signal.aborted || isAborted(error)) return;
      this.missing = (error as { status?: number }).status === 404;
      this.failure = reasonOf(error);
    }
  }

  /** Read the stored events in one piece, which is faster than a stream. Waits while the server is away. */
  async #stored(): Promise<LogEvent[]> {
    for (;;) {
      try {
        return await connection.watch(readEvents(this.id, this.#controller.signal));
      } catch (error) {
        if (connection.online || isAborted(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
  }

  /** Take events together, at most about once a frame. A frame of the browser never comes to a hidden tab. */
  #queue(event: LogEvent): void {
    this.#queued.push(event);
    this.#timer ||= window.setTimeout(() => {
      this.#timer = 0;
      this.#take(this.#queued.splice(0));
    }, 30);
  }

  #take(events: LogEvent[]): void {
    for (const event of events) {
      this.#turnOf(event)?.add(event);
      this.log.add(event);
    }
    this.log.show();
  }

  #turnOf(event: LogEvent): Turn | null {
    const known = this.turns.findLast((turn) => turn.run === event.run_id);
    if (known || event.type !== "run.started") return known ?? this.newest;
    this.repo = event.data.repo;
    const turn = new Turn(event.run_id, event.data.task, Date.parse(event.ts), event.data.model ?? "");
    this.turns = [...this.turns, turn];
    return turn;
  }
}
