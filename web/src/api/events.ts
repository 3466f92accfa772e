/** The events of a thread, as GET /api/events/schema describes them. */

export type RunStatus =
  | "verified" | "answered" | "unverified" | "waiting" | "cancelled" | "failed" | "budget";

export interface Step {
  id: string;
  agent: string;
  description: string;
  group: number;
  file?: string;
  files?: string[];
  context_files?: string[];
  tool_name?: string;
  tool_params?: Record<string, unknown>;
}

export interface Plan {
  explanation: string;
  steps: Step[];
}

export interface CaseProof {
  id: string;
  base: string;
  head: string;
  new?: boolean;
  sharpened?: boolean;
  idle?: boolean;
}

export interface Proof {
  task: string;
  base: string;
  head: string;
  tree: string;
  grade: string;
  backend: string;
  image: string;
  command: string[];
  exit_code: number;
  green: boolean;
  scope: string;
  scope_reason: string;
  baseline_reason: string;
  missing_environment: string;
  environments: { key: string; folder: string; side: string; sources: string[]; commands: string[] }[];
  cases: CaseProof[];
  problems: string[];
  failures: { id: string; text: string }[];
  contradicted: string[];
  unsteady: string[];
  suspicious: { file: string; line: number; text: string; answer: string }[];
  gaps: string[];
  strength: { killed: number; tried: number; untried: number } | null;
  unguarded: { file: string; first: number; last: number; mutant: string }[];
  untestable: string;
  verdict: string;
  reasons: string[];
  missing: string[];
}

export interface ResultSummary {
  headline: string;
  weaknesses: string[];
  figures: string;
  advice: string;
  words: string;
}

export interface AgentUsage {
  agent: string;
  model: string;
  calls: number;
  input_tokens: number;
  output_tokens: number;
  cost_usd: number | null;
  seconds: number;
}

/** A question of a run. Which fields it has depends on its kind. */
export interface Question {
  kind: string;
  problem?: string;
  plan?: Plan;
  tool?: string;
  params?: Record<string, unknown>;
  command?: string;
  step?: string;
  remote?: string;
  reason?: string;
  uncertain?: boolean;
  renewal?: string;
  commands?: string[];
  sources?: string[];
  reasons?: string[];
  packages?: string[];
  at_hand?: string[];
  difference?: string[];
  question?: string;
}

export interface Answer {
  decision: "approve" | "edit" | "reject";
  reason?: string;
  plan?: unknown;
  params?: Record<string, unknown>;
  scope?: "run" | "repository";
}

export interface Payloads {
  "run.started": { task: string; repo: string; base?: string | null; resumed?: boolean; model?: string | null };
  "run.finished": {
    status: RunStatus; proof?: Proof | null; branch?: string | null; reason?: string | null;
    missing: string[]; summary?: ResultSummary | null; usage?: AgentUsage[];
  };
  "node.started": Record<string, never>;
  "node.finished": { seconds: number; error?: string | null };
  checkpoint: { id: string; next: string[] };
  token: { text: string };
  recall: { files: string[]; episodes: { id: string; task: string }[] };
  plan: { plan: Plan; fallback?: boolean; by?: "planner" | "user" };
  "approval.required": { id: string; request: Question };
  "approval.resolved": { id: string; decision: string; reason?: string | null };
  "tool.call": {
    name: string; arguments: Record<string, unknown>; seconds: number; bytes: number;
    exit_code?: number | null; summary?: string;
  };
  "tool.result": { tool: string; stdout: string; stderr: string; returncode: number };
  edit: { files: { path: string; added: number; removed: number }[]; added: number; removed: number };
  environment: {
    status: "building" | "output" | "ready" | "failed"; folder?: string; commands?: string[];
    key?: string; seconds?: number; text?: string;
  };
  "sandbox.started": { what: string; backend: string; command: string[] };
  "sandbox.output": { text: string };
  check: {
    green: boolean; passed: number; failed: number; cases: CaseProof[]; problems: string[];
    gaps?: string[]; grade?: string; command?: string[]; exit_code?: number | null;
  };
  verdict: { verdict: "PASS" | "FAIL"; reasons: string[]; summary?: string };
  budget: {
    agent: string; model: string; input_tokens: number; output_tokens: number; cost_usd: number | null;
    total_tokens: number; total_cost_usd: number; unpriced?: boolean; estimated?: boolean;
  };
  retry: { reason: string; attempt: number; model?: string | null; wait_seconds?: number };
  "note.read": { notes: number[] };
  message: { role: "user" | "assistant"; text: string };
  error: { message: string; kind: string };
}

interface Envelope {
  seq: number;
  thread_id: string;
  run_id: string;
  ts: string;
  node?: string | null;
  step_id?: string | null;
  cut?: boolean;
}

/** An event of the log. `type` tells which data it has. */
export type LogEvent = { [T in keyof Payloads]: Envelope & { type: T; data: Payloads[T] } }[keyof Payloads];
