/**
 * AutoCodeAI from a web page: an ES module without dependencies.
 *
 *   import { streamTask, AgentSocket, followThread } from "/client.js";
 *
 *   streamTask("Add mul to calc.py", { "calc.py": "…" },
 *     (chunk) => output.append(chunk),
 *     (result, error) => console.log(error ?? result.status));
 *
 *   const socket = new AgentSocket((chunk) => …, () => …, (error) => …);
 *   socket.send("Add mul to calc.py", ["calc.py"]);
 *
 * `files` are paths in the repository, {path, content} objects, or one object {path: content}.
 * The last argument of each may hold: base (the server's address; default: where the page comes from),
 * key (its API key; default: what setKey stored for this tab), and for tasks repo, thread_id, options.
 */

const KEY = "autocode.key";

/** Remember the server's API key for this tab; nothing forgets it. */
export function setKey(key) {
  key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY);
}

/** What the server, or the way to it, refused; `problem` holds its problem details, if it sent any. */
export class AgentError extends Error {
  constructor(message, problem = null) {
    super(message);
    this.name = "AgentError";
    this.problem = problem;
    this.status = problem?.status ?? 0;
  }
}

/** Ask the server for something; gives the Response, or throws an AgentError that says what to do. */
export async function request(path, { method = "GET", body, headers = {}, base = "", key, signal } = {}) {
  const known = key ?? globalThis.sessionStorage?.getItem(KEY);
  const sent = { ...headers };
  if (known) sent["X-Api-Key"] = known;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const init = { method, headers: sent, signal, cache: "no-store" };
  if (body !== undefined) init.body = JSON.stringify(body);
  const response = await fetch(base + path, init);
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  throw new AgentError(problem?.detail ?? `the server answered ${response.status}`, problem);
}

/**
 * Run a task and hear its text as it is written.
 *
 * onChunk(text) is called for each piece, exactly as it was written; onDone(result, error) once, at the end:
 * result as POST /api/agent/run answers, or null and an AgentError. Gives a promise of the result.
 */
export async function streamTask(task, files, onChunk, onDone = () => {}, more = {}) {
  const { base, key, signal, ...asked } = more;
  let result = null;
  let error = null;
  try {
    const body = { ...asked, task, context_files: files ?? [], frames: "json" };
    const response = await request("/api/agent/stream", { method: "POST", body, base, key, signal });
    await readMessages(response, ({ event, data }) => {
      if (event === "done") result = JSON.parse(data);
      else if (event === "error") error = fromProblem(JSON.parse(data));
      else onChunk(JSON.parse(data).text);
    });
    if (!result && !error) error = new AgentError("the stream broke off; the run goes on by itself");
  } catch (caught) {
    error = caught instanceof AgentError ? caught : new AgentError(String(caught?.message ?? caught));
  }
  onDone(result, error);
  return result;
}

/**
 * A WebSocket that carries out tasks one after another.
 *
 * onMessage(text) hears each piece, onDone() the end of each task, onError(error) what went wrong with one;
 * onDone follows then, too. It connects with the first task, and again after it was closed.
 */
export class AgentSocket {
  #socket = null;
  #running = 0;

  constructor(onMessage, onDone = () => {}, onError = () => {}, more = {}) {
    Object.assign(this, { onMessage, onDone, onError, more });
  }

  /** Carry out a task; one that is sent while another runs waits for it. */
  send(task, files) {
    const { base, key, ...asked } = this.more;
    const frame = JSON.stringify({ ...asked, task, context_files: files ?? [] });
    const socket = this.#connected();
    this.#running += 1;
    if (socket.readyState === WebSocket.OPEN) socket.send(frame);
    else socket.addEventListener("open", () => socket.send(frame), { once: true });
  }

  /** Hang up; runs that have begun go on by themselves. */
  close() {
    this.#running = 0;
    this.#socket?.close();
  }

  #connected() {
    if (this.#socket && this.#socket.readyState <= WebSocket.OPEN) return this.#socket;
    const url = new URL("/api/ws", this.more.base ?? location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const key = this.more.key ?? globalThis.sessionStorage?.getItem(KEY);
    const socket = new WebSocket(url, key ? ["autocode", `autocode.key.${base64url(key)}`] : ["autocode"]);
    socket.addEventListener("message", ({ data }) => this.#hear(data));
    socket.addEventListener("close", () => this.#lost(socket));
    this.#socket = socket;
    return socket;
  }

  #hear(text) {
    if (text === "__DONE__") {
      this.#running -= 1;
      this.onDone();
    } else if (text.startsWith('{"error":')) {
      this.onError(fromProblem(JSON.parse(text).error));
    } else {
      this.onMessage(text);
    }
  }

  #lost(socket) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    for (; this.#running > 0; this.#running -= 1) {
      this.onError(new AgentError("the connection was refused or lost; a run that had begun goes on by itself"));
      this.onDone();
    }
  }
}

/**
 * Hear every event of a thread's log, from after `after` on, across broken connections, without a gap or a repeat.
 *
 * Ends when `signal` is aborted; throws an AgentError when the server refuses.
 */
export async function followThread(threadId, onEvent, { after = 0, signal, ...more } = {}) {
  const path = `/api/threads/${encodeURIComponent(threadId)}/events`;
  for (let wait = 250; !signal?.aborted; wait = Math.min(wait * 2, 5000)) {
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": String(after) };
      const response = await request(path, { ...more, headers, signal });
      await readMessages(response, ({ id, data }) => {
        if (!(Number(id) > after)) return;
        after = Number(id);
        wait = 250;
        onEvent(JSON.parse(data));
      });
    } catch (error) {
      if (signal?.aborted) return;
      if (error instanceof AgentError && error.status < 500) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** Read a response's Server-Sent Events; calls onMessage({event, data, id}) for each that carries data. */
export async function readMessages(response, onMessage) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let message = { event: "message", data: [], id: undefined };
  const take = (line) => {
    if (line === "") {
      if (message.data.length) onMessage({ ...message, data: message.data.join("\n") });
      message = { event: "message", data: [], id: message.id };
      return;
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "data") message.data.push(value);
    else if (field === "event") message.event = value;
    else if (field === "id") message.id = value;
  };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    lines.forEach(take);
  }
}

function fromProblem(problem) {
  return new AgentError(problem.detail ?? problem.title ?? "the server refused", problem);
}

function base64url(text) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
