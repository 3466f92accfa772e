/** Asks the worker for colours. A text that takes too long stays plain, and the worker is made anew. */

import type { HighlightJob } from "./highlight.worker";
import workerUrl from "./highlight.worker.ts?worker&url";
import type { Piece } from "./marks";

const SECONDS = 3;
const LONGEST = 300_000;

const LANGUAGES: Record<string, string> = {
  sh: "bash", bash: "bash", zsh: "bash", c: "c", h: "c", cc: "cpp", cpp: "cpp", hpp: "cpp", cs: "csharp", css: "css",
  go: "go", ini: "ini", toml: "ini", cfg: "ini", java: "java", js: "javascript", mjs: "javascript", cjs: "javascript",
  jsx: "javascript", json: "json", kt: "kotlin", md: "markdown", php: "php", py: "python", pyi: "python", rb: "ruby",
  rs: "rust", scss: "scss", sql: "sql", swift: "swift", ts: "typescript", tsx: "typescript", html: "xml", xml: "xml",
  svg: "xml", svelte: "xml", vue: "xml", yml: "yaml", yaml: "yaml", dockerfile: "dockerfile", makefile: "makefile", mk: "makefile",
};

interface Waiting {
  done: (lines: Piece[][] | null) => void;
  timer: number;
}

let worker: Worker | null = null;
let count = 0;
const waiting = new Map<number, Waiting>();

interface ScriptPolicy {
  createScriptURL(url: string): string;
}

interface ScriptPolicies {
  createPolicy(name: string, rules: ScriptPolicy): ScriptPolicy;
}

// The Content Security Policy of the page lets this one alone name a script.
const { trustedTypes } = globalThis as { trustedTypes?: ScriptPolicies };
const policy = trustedTypes?.createPolicy("autocode-worker", { createScriptURL: (url) => url });

function start(): Worker {
  const made = new Worker(policy?.createScriptURL(workerUrl) ?? workerUrl, { type: "module" });
  made.addEventListener("message", ({ data }: MessageEvent<{ id: number; lines: Piece[][] }>) => finish(data.id, data.lines));
  made.addEventListener("error", restart);
  return made;
}

function finish(id: number, lines: Piece[][] | null): void {
  const job = waiting.get(id);
  waiting.delete(id);
  clearTimeout(job?.timer);
  job?.done(lines);
}

/** End a worker that failed or hangs. What waits for it stays plain. */
function restart(): void {
  worker?.terminate();
  worker = null;
  for (const id of [...waiting.keys()]) finish(id, null);
}

/** Colour a text. Returns the pieces of each line, or null if it stays plain. */
export function highlight(path: string, text: string): Promise<Piece[][] | null> {
  const name = path.split("/").at(-1)?.toLowerCase() ?? "";
  const language = LANGUAGES[name.split(".").at(-1) ?? ""];
  if (!language || text.length > LONGEST) return Promise.resolve(null);
  worker ??= start();
  const id = ++count;
  const job: HighlightJob = { id, language, text };
  return new Promise((done) => {
    waiting.set(id, { done, timer: window.setTimeout(restart, SECONDS * 1000) });
    worker?.postMessage(job);
  });
}
