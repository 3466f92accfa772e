/** The pieces of a turn, in the order in which they happen. */

import type { Payloads, Step } from "../api/events";
import { callLine } from "./words";

export type WorkState = "running" | "waiting" | "done" | "failed" | "stopped";

export interface ToolCall {
  seq: number;
  line: string;
  failed: boolean;
  arguments: Record<string, unknown>;
  bytes: number;
}

const OUTPUT = 200_000;
const TRYING = /^Trying again: /;

/** The work of one agent or node, from its start to its end. */
export class Work {
  readonly kind = "work";
  state = $state<WorkState>("running");
  seconds = $state(0);
  tokens = $state(0);
  output = $state("");
  outcome = $state("");
  notes = $state.raw<string[]>([]);
  calls = $state.raw<ToolCall[]>([]);
  waitUntil = $state(0);
  /** The exit code of a tool of the plan, null until its result is there. */
  code: number | null = null;
  /** The question that it waits for, or has waited for. */
  question = "";
  /** The result of a check or a review, which is shown in the place of the work once it has ended. */
  outcomeItem = $state.raw<CheckItem | VerdictItem | null>(null);

  constructor(
    readonly key: number,
    readonly node: string,
    readonly began: number,
    readonly step: Step | null,
  ) {}

  write(text: string): void {
    const joined = this.output + text;
    // Cutting at each piece would copy the text each time.
    this.output = joined.length > 2 * OUTPUT ? joined.slice(-OUTPUT) : joined;
  }

  /** Take the result of a tool of the plan. */
  take(result: Payloads["tool.result"]): void {
    this.write(result.stdout + result.stderr);
    this.code = result.returncode;
  }

  /** False for a tool of the plan without a result: it may have run before, and is asked about. */
  get tells(): boolean {
    return this.step?.agent !== "tool" || this.code !== null;
  }

  /** Take a call of an agent's tool. */
  call(seq: number, data: Payloads["tool.call"]): void {
    this.outcome = callLine(data);
    const { exit_code: code, bytes } = data;
    this.calls = [...this.calls, { seq, line: this.outcome, failed: Boolean(code), arguments: data.arguments, bytes }];
  }

  note(text: string): void {
    this.notes = [...this.notes, text];
  }

  end(state: WorkState, at: number, seconds?: number): void {
    if (this.state === "running" || this.state === "waiting") this.state = state;
    this.notes = this.notes.map((note) => note.replace(TRYING, "Tried again: "));
    this.seconds = seconds ?? Math.max(0, (at - this.began) / 1000);
    this.waitUntil = 0;
  }
}

/** Steps of a plan that run at the same time. */
export class Parallel {
  readonly kind = "parallel";
  works = $state.raw<Work[]>([]);

  constructor(
    readonly key: number,
    readonly group: number,
  ) {}
}

/** The result of a check. `round` counts the checks of the run. */
export interface CheckItem {
  kind: "check";
  key: number;
  round: number;
  check: Payloads["check"];
}

export interface VerdictItem {
  kind: "verdict";
  key: number;
  verdict: Payloads["verdict"];
}

/** A note of the user, with the agents that have read it. */
export class Note {
  readonly kind = "note";
  readers = $state.raw<string[]>([]);

  /** `key` is the number of its event, by which readers name it. */
  constructor(
    readonly key: number,
    readonly text: string,
  ) {}
}

/** The answer to a question of the run. */
export interface AnsweredItem {
  kind: "answered";
  key: number;
  about: string;
  decision: string;
  reason: string;
}

export type Item = Work | Parallel | CheckItem | VerdictItem | Note | AnsweredItem;
