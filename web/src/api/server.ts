/** The requests of the page, by what they are for. */

import { request } from "../../client.js";
import type { Answer, LogEvent } from "./events";

export interface ThreadSummary {
  id: string;
  task: string;
  title: string;
  status: string;
  repo: string;
  branch: string | null;
  created: string;
  live: boolean;
}

export interface RunSummary {
  thread_id: string;
  run_id: string;
  status: string;
}

export interface ContextFile {
  path: string;
  content: string;
}

export interface RunOptions {
  approve_plan?: boolean;
  max_cost_usd?: number;
  /** Null takes back the model that the thread has. */
  model?: string | null;
}

/** A model to choose. Prices are dollars per million tokens. */
export interface OfferedModel {
  id: string;
  provider: string;
  context: number | null;
  input_price: number | null;
  output_price: number | null;
  tools: boolean;
}

export interface ModelOffer {
  agents: Record<string, string>;
  models: OfferedModel[];
  problem: string;
}

export interface Task {
  task: string;
  repo?: string;
  thread_id?: string;
  context_files?: (string | ContextFile)[];
  options?: RunOptions;
}

export interface Folder {
  path: string;
  repository: boolean;
}

const at = (thread: string) => `/api/threads/${encodeURIComponent(thread)}`;

async function json<T>(path: string, options?: Parameters<typeof request>[1]): Promise<T> {
  return (await request(path, options)).json() as Promise<T>;
}

const post = <T>(path: string, body?: unknown) => json<T>(path, { method: "POST", body });

/** What a list of threads shows. Empty fields match all. */
export interface ThreadFilter {
  words: string;
  state: string;
  repo: string;
}

/** List the newest threads that match a filter. */
export function listThreads(limit: number, { words, state, repo }: ThreadFilter, signal?: AbortSignal): Promise<ThreadSummary[]> {
  const wanted = Object.entries({ q: words.trim().slice(0, 200), status: state, repo }).filter(([, value]) => value);
  return json(`/api/threads?${new URLSearchParams([["limit", String(limit)], ...wanted])}`, { signal });
}

export const listModels = () => json<ModelOffer>("/api/models");

/** Start a task on a new thread, or continue one. */
export const startTask = (task: Task) => post<RunSummary>("/api/threads", task);

/** Read the events of a thread that are stored. */
export const readEvents = (thread: string, signal?: AbortSignal) =>
  json<LogEvent[]>(`${at(thread)}/events`, { headers: { Accept: "application/json" }, signal });

/** Answer a question of a run. */
export const answerQuestion = (thread: string, id: string, answer: Answer) =>
  post<RunSummary>(`${at(thread)}/approvals`, { answers: { [id]: answer } });

/** Send a note to a running task, or answer the question that it waits for. */
export const sendNote = (thread: string, text: string) => post<LogEvent>(`${at(thread)}/messages`, { text });

export const cancelRun = (thread: string) => post<{ cancelled: boolean }>(`${at(thread)}/cancel`);

/** Continue a run. One that has spent its budget needs a larger one, in dollars. */
export const resumeRun = (thread: string, budget?: number) =>
  post<RunSummary>(`${at(thread)}/resume`, budget ? { options: { max_cost_usd: budget } } : undefined);

export const forkThread = (thread: string, checkpoint?: string) =>
  post<{ thread_id: string }>(`${at(thread)}/fork`, checkpoint ? { checkpoint_id: checkpoint } : undefined);

/** Read the change of one run as a unified diff, or what is left to apply. */
export async function readDiff(thread: string, run = ""): Promise<string> {
  return (await request(`${at(thread)}/diff?${new URLSearchParams(run ? { run_id: run } : {})}`)).text();
}

/** Read a file of that diff as it is with the change. */
export async function readFile(thread: string, run: string, path: string): Promise<string> {
  return (await request(`${at(thread)}/file?${new URLSearchParams({ path, ...(run ? { run_id: run } : {}) })}`)).text();
}

/** What a push would send where. `refused` says why the server does not do it, empty if it does. */
export interface PushPreview {
  remote: string;
  url: string;
  branch: string;
  commit: string;
  verified: boolean;
  missing: string[];
  work_in_progress: boolean;
  actions: string[];
  commits: { id: string; subject: string; author: string }[];
  files: { path: string; added: number; removed: number }[];
  refused: string;
}

export interface PushOutcome {
  status: string;
  url: string;
  branch: string;
  messages: string;
  pull_request: string | null;
  problem: string | null;
}

export const previewPush = (thread: string) => json<PushPreview>(`${at(thread)}/push`);

/** Push what a preview has shown. */
export const pushBranch = (thread: string, { url, commit }: PushPreview, pullRequest: boolean) =>
  post<PushOutcome>(`${at(thread)}/push`, { url, commit, pull_request: pullRequest });

/** What nobody has applied yet. `undo` is true if there is an apply to take back. */
export interface Changes {
  id: string;
  verified: boolean;
  branch: string;
  files: { path: string; other: string | null; hunks: { id: string; header: string }[] }[];
  undo: boolean;
}

/** Files and hunks of changes, which `changes` names. */
export interface Choice {
  changes: string;
  files: string[];
  hunks: Record<string, string[]>;
}

export const readChanges = (thread: string) => json<Changes>(`${at(thread)}/changes`);

/** Apply what a thread has delivered to the checkout, or a part of it. An unverified result must be meant. */
export const applyResult = (thread: string, body: Partial<Choice> & { unverified: boolean }) =>
  post<{ paths: string[] }>(`${at(thread)}/apply`, body);

/** Take back what was applied last. */
export const undoApply = (thread: string) => post<{ paths: string[]; committed: string[] }>(`${at(thread)}/undo`);

export const renameThread = (thread: string, title: string) =>
  request(`/threads/${encodeURIComponent(thread)}`, { method: "PATCH", body: { metadata: { title } } });

export const deleteThread = (thread: string) =>
  request(`/threads/${encodeURIComponent(thread)}`, { method: "DELETE" });

/** Delete a thread with its branches, snapshots and what it has taught. */
export const forgetThread = (thread: string) => json<{ branches: string[]; kept: Record<string, string> }>(at(thread), { method: "DELETE" });

/** Complete a path to folders that tasks may use. */
export const completeFolder = (path: string, signal?: AbortSignal) =>
  json<Folder[]>(`/api/repositories?path=${encodeURIComponent(path)}`, { signal });

/** Find files of a repository whose paths match the words. */
export const findFiles = (repo: string, words: string, signal?: AbortSignal) =>
  json<string[]>(`/api/repositories/files?${new URLSearchParams({ repo, words })}`, { signal });
