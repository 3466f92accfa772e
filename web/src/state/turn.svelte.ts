/** One task of a thread: what was asked, the plan, the work, and the result. */

import type { AgentUsage, LogEvent, Payloads, Plan, Question } from "../api/events";
import { EMPTY_PROOF } from "./proof";
import { counts, startLine, titleOfNode } from "./words";
import { Note, Parallel, Work, type CheckItem, type Item, type VerdictItem, type WorkState } from "./work.svelte";

/** Nodes whose work is only shown if it fails, because nothing in it is of interest to users. */
const QUIET = new Set(["snapshot", "environment", "go_on", "recall", "tryout", "approval", "dispatch", "merge", "commit"]);

export interface OpenQuestion {
  id: string;
  request: Question;
}

type Of<T extends LogEvent["type"]> = Extract<LogEvent, { type: T }>;

export class Turn {
  status = $state("running");
  plan = $state.raw<Plan | null>(null);
  /** True if the plan is the one that the user has edited. */
  planEdited = $state(false);
  items = $state.raw<Item[]>([]);
  questions = $state.raw<OpenQuestion[]>([]);
  end = $state.raw<Payloads["run.finished"] | null>(null);
  ended = $state(0);
  answer = $state("");
  tokens = $state(0);
  cost = $state<number | null>(0);
  unpriced = $state(false);
  edited = $state.raw(new Map<string, { added: number; removed: number }>());
  usage = $state.raw<AgentUsage[]>([]);
  check = $state.raw<Payloads["check"] | null>(null);
  checkpoint = "";
  stepStates = $state.raw(new Map<string, string>());

  readonly #open = new Map<string, Work>();
  #rounds = 0;
  #asked = new Map<string, Question>();

  constructor(
    readonly run: string,
    readonly task: string,
    readonly began: number,
    /** The model that the user has chosen for all agents, empty for those of the settings. */
    readonly model = "",
  ) {}

  /** Take the next event of this run. */
  add(event: LogEvent): void {
    const at = Date.parse(event.ts);
    switch (event.type) {
      case "run.started": this.#resume(); break;
      case "run.finished": this.#finish(event.data, at); break;
      case "node.started": this.#start(event, at); break;
      case "node.finished": this.#end(event, at); break;
      case "checkpoint": this.checkpoint = event.data.id; break;
      case "token": this.#of(event)?.write(event.data.text); break;
      case "sandbox.output": this.#of(event)?.write(event.data.text); break;
      case "tool.result": this.#of(event)?.take(event.data); break;
      case "tool.call": this.#of(event)?.call(event.seq, event.data); break;
      case "sandbox.started": this.#outcome(event, startLine(event.data)); break;
      case "edit": this.#edit(event); break;
      case "plan": this.plan = event.data.plan; this.planEdited = event.data.by === "user"; break;
      case "environment": this.#build(event, at); break;
      case "check": this.#check(event); break;
      case "verdict": this.#conclude(event, { kind: "verdict", key: event.seq, verdict: event.data }); break;
      case "budget": this.#spend(event); break;
      case "retry": this.#retry(event, at); break;
      case "error": this.#error(event, at); break;
      case "message": this.#message(event); break;
      case "note.read": this.#read(event); break;
      case "approval.required": this.#ask(event); break;
      case "approval.resolved": this.#answered(event); break;
      case "recall": break;
    }
  }

  get active(): boolean {
    return this.status === "running";
  }

  /** True if a resume goes on with it. A plan that was rejected would only be asked about again. */
  get resumable(): boolean {
    return this.status === "failed" || (this.status === "cancelled" && !this.end?.missing?.length);
  }

  /** True if it has changed a file. */
  get changes(): boolean {
    return Boolean(this.end?.branch) || this.edited.size > 0;
  }

  get finished(): boolean {
    return this.end !== null && this.status !== "waiting";
  }

  #push(item: Item): void {
    this.items = [...this.items, item];
  }

  #resume(): void {
    this.status = "running";
    this.end = null;
    this.#stopAll(0, "running");
  }

  #finish(data: Payloads["run.finished"], at: number): void {
    this.status = data.status;
    this.end = data.proof ? { ...data, proof: { ...EMPTY_PROOF, ...data.proof } } : data;
    this.ended = at;
    if (data.usage?.length) this.usage = data.usage;
    if (data.status !== "waiting") this.questions = [];
    this.#stopAll(at, data.status === "waiting" ? "running" : null);
    this.#sayOnce(data.reason ?? "");
  }

  /** Leave the reason of the end to the result, which shows it. */
  #sayOnce(reason: string): void {
    for (const work of this.#works()) {
      if (reason && work.notes.includes(reason)) work.notes = work.notes.filter((note) => note !== reason);
    }
  }

  #works(): Work[] {
    return this.items.flatMap((item) => (item instanceof Parallel ? item.works : item.kind === "work" ? [item] : []));
  }

  /** End what has no end of its own, so that nothing looks alive in a run that has ended. `only` limits it to a state. */
  #stopAll(at: number, only: "running" | null): void {
    for (const [key, work] of this.#open) {
      if (only && work.state !== only) continue;
      work.end("stopped", at || work.began);
      this.#set(work, work.state);
      this.#open.delete(key);
    }
  }

  #key({ node, step_id: step }: LogEvent): string {
    return `${node} ${this.#stepOf(step ?? "") ? step : ""}`;
  }

  #stepOf(id: string) {
    return this.plan?.steps.find((step) => step.id === id) ?? null;
  }

  #of(event: LogEvent): Work | undefined {
    return this.#open.get(this.#key(event));
  }

  #start(event: LogEvent, at: number): void {
    const node = event.node ?? "";
    const step = this.#stepOf(event.step_id ?? "");
    // A node that has asked starts again with an answer, of another node of its group too.
    const before = step && this.#open.get(this.#key(event));
    if (before) return this.#set(before, this.questions.some(({ id }) => id === before.question) ? "waiting" : "running");
    const work = new Work(event.seq, node, at, step);
    this.#open.set(this.#key(event), work);
    if (QUIET.has(node)) return;
    if (!step) return this.#push(work);
    this.#set(work, "running");
    const last = this.items.at(-1);
    const together = last instanceof Parallel && last.group === step.group && last.works.some((other) => other.state === "running");
    const parallel = together ? last : new Parallel(event.seq, step.group);
    parallel.works = [...parallel.works, work];
    if (!together) this.#push(parallel);
  }

  #end(event: Of<"node.finished">, at: number): void {
    const work = this.#of(event);
    if (!work) return;
    if (event.data.error) this.#show(work, event.data.error);
    work.end(event.data.error || work.code ? "failed" : work.tells ? "done" : "stopped", at, event.data.seconds);
    this.#set(work, work.state);
    this.#open.delete(this.#key(event));
  }

  #set(work: Work, state: WorkState): void {
    work.state = state;
    if (work.step) this.stepStates = new Map(this.stepStates).set(work.step.id, state);
  }

  /** Add a note to a work, and show the work if its node is a quiet one. */
  #show(work: Work, text: string): void {
    work.note(text);
    if (!this.#works().includes(work)) this.#push(work);
  }

  #outcome(event: LogEvent, text: string): void {
    const work = this.#of(event);
    if (work) work.outcome = text;
  }

  #edit(event: Of<"edit">): void {
    const edited = new Map(this.edited);
    for (const { path, added, removed } of event.data.files) {
      const before = edited.get(path) ?? { added: 0, removed: 0 };
      edited.set(path, { added: before.added + added, removed: before.removed + removed });
    }
    this.edited = edited;
    const places = event.data.files.map((file) => file.path).join(", ");
    this.#outcome(event, places ? `+${event.data.added} −${event.data.removed} ${places}` : "no change");
  }

  #build(event: Of<"environment">, at: number): void {
    const { status, folder, commands = [], seconds, text = "" } = event.data;
    const key = "build";
    let work = this.#open.get(key);
    if (status === "building" || !work) {
      work = new Work(event.seq, folder ? `environment of ${folder}` : "environment", at, null);
      for (const command of commands) work.write(`$ ${command}\n`);
      this.#open.set(key, work);
      this.#push(work);
    }
    if (status === "output") work.write(text);
    if (status === "ready") work.outcome = "ready";
    if (status === "failed") work.note(text);
    if (status === "building" || status === "output") return;
    work.end(status === "ready" ? "done" : "failed", at, seconds);
    this.#open.delete(key);
  }

  #check(event: Of<"check">): void {
    this.#rounds += 1;
    this.#conclude(event, { kind: "check", key: event.seq, round: this.#rounds, check: event.data });
    this.#outcome(event, counts(event.data));
  }

  /** Add a result of the work that it ends, or by itself where there is no such work. */
  #conclude(event: LogEvent, item: CheckItem | VerdictItem): void {
    const work = this.#of(event);
    if (work) work.outcomeItem = item;
    else this.#push(item);
    if (item.kind === "check") this.check = item.check;
  }

  #spend(event: Of<"budget">): void {
    const { data } = event;
    this.tokens = data.total_tokens;
    this.cost = data.unpriced && !data.total_cost_usd ? null : data.total_cost_usd;
    this.unpriced = Boolean(data.unpriced);
    const work = this.#of(event) ?? this.#speaker(data.agent);
    if (work) work.tokens += data.input_tokens + data.output_tokens;
  }

  #speaker(agent: string): Work | undefined {
    return [...this.#open.values()].find((work) => work.node === agent);
  }

  #retry(event: Of<"retry">, at: number): void {
    const work = this.#of(event);
    if (!work) return;
    this.#show(work, `Trying again: ${event.data.reason}`);
    work.waitUntil = at + 1000 * (event.data.wait_seconds ?? 0);
  }

  #error(event: Of<"error">, at: number): void {
    const step = event.data.kind === "step" ? this.#works().findLast((one) => one.step?.id === event.step_id) : undefined;
    const work = step ?? this.#of(event) ?? new Work(event.seq, event.node ?? "run", at, null);
    this.#show(work, event.data.message);
    if (step) this.#set(step, "failed");
    else if (event.data.kind !== "warning") work.end("failed", at);
    else if (!this.#open.has(this.#key(event))) work.end("done", at);
  }

  #message(event: Of<"message">): void {
    if (event.data.role === "assistant") this.answer = event.data.text;
    else this.#push(new Note(event.seq, event.data.text));
  }

  #read(event: Of<"note.read">): void {
    const reader = this.#stepOf(event.step_id ?? "")?.description ?? titleOfNode(event.node ?? "");
    for (const item of this.items) {
      if (item instanceof Note && event.data.notes.includes(item.key) && !item.readers.includes(reader)) item.readers = [...item.readers, reader];
    }
  }

  #ask(event: Of<"approval.required">): void {
    const { data } = event;
    const work = this.#of(event);
    if (work) work.question = data.id;
    if (work?.step) this.#set(work, "waiting");
    this.#asked.set(data.id, data.request);
    this.questions = [...this.questions.filter((question) => question.id !== data.id), data];
  }

  #answered(event: Of<"approval.resolved">): void {
    const { id, decision, reason } = event.data;
    const request = this.#asked.get(id);
    this.questions = this.questions.filter((question) => question.id !== id);
    const about = request?.kind === "tool" ? (request.tool ?? "tool") : (request?.kind ?? "");
    this.#push({ kind: "answered", key: event.seq, about, decision, reason: reason ?? "" });
  }
}
