/**
 * Client of AutoCodeAI for web pages: an ES module without dependencies.
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
 * The last argument of each may contain base (the address of the server, by default that of the page),
 * key (its API key, by default the one that setKey stored), and for tasks repo, thread_id and options.
 */

const KEY = "autocode.key";

/** Store the server's API key for this tab. An empty key removes it. */
export function setKey(key) {
  key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY);
}

/** An error of the server or the connection. `problem` holds the problem details that the server sent. */
export class AgentError extends Error {
  constructor(message, problem = null) {
    super(message);
    this.name = "AgentError";
    this.problem = problem;
    this.status = problem?.status ?? 0;
  }
}

/** Send a request. Returns the Response, or throws an AgentError that says what to do. */
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
 * Run a task and stream its text.
 *
 * onChunk(text) is called for each piece of text. onDone(result, error) is called once, at the end, with the
 * answer of POST /api/agent/run, or with null and an AgentError. Returns a promise of the result.
 */
export async function streamTask(task, files, onChunk, onDone = () => {}, more = {}) {
  const { base, key, signal, ...fields } = more;
  let result = null;
  let error = null;
  try {
    const body = { ...fields, task, context_files: files ?? [], frames: "json" };
    const response = await request("/api/agent/stream", { method: "POST", body, base, key, signal });
    await readMessages(response, ({ event, data }) => {
      if (event === "done") result = JSON.parse(data);
      else if (event === "error") error = fromProblem(JSON.parse(data));
      else onChunk(JSON.parse(data).text);
    });
    if (!result && !error) error = new AgentError("the stream ended early; the run continues on the server");
  } catch (caught) {
    error = caught instanceof AgentError ? caught : new AgentError(String(caught?.message ?? caught));
  }
  onDone(result, error);
  return result;
}

/**
 * A WebSocket that runs tasks one after another.
 *
 * onMessage(text) is called for each piece of text, onDone() at the end of each task, and onError(error)
 * before it if the task failed. The socket connects with the first task, and again after it was closed.
 */
export class AgentSocket {
  #socket = null;
  #unfinished = 0;

  constructor(onMessage, onDone = () => {}, onError = () => {}, more = {}) {
    Object.assign(this, { onMessage, onDone, onError, more });
  }

  /** Run a task. It waits for the tasks that were sent before. */
  send(task, files) {
    const { base, key, ...fields } = this.more;
    const frame = JSON.stringify({ ...fields, task, context_files: files ?? [] });
    const socket = this.#connected();
    this.#unfinished += 1;
    if (socket.readyState === WebSocket.OPEN) socket.send(frame);
    else socket.addEventListener("open", () => socket.send(frame), { once: true });
  }

  /** Close the connection. Started runs continue on the server. */
  close() {
    this.#unfinished = 0;
    this.#socket?.close();
  }

  #connected() {
    if (this.#socket && this.#socket.readyState <= WebSocket.OPEN) return this.#socket;
    const url = new URL("/api/ws", this.more.base ?? location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const key = this.more.key ?? globalThis.sessionStorage?.getItem(KEY);
    const socket = new WebSocket(url, key ? ["autocode", `autocode.key.${base64url(key)}`] : ["autocode"]);
    socket.addEventListener("message", ({ data }) => this.#receive(data));
    socket.addEventListener("close", () => this.#lost(socket));
    this.#socket = socket;
    return socket;
  }

  #receive(text) {
    if (text === "__DONE__") {
      this.#unfinished -= 1;
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
    for (; this.#unfinished > 0; this.#unfinished -= 1) {
      this.onError(new AgentError("the connection was refused or lost; a started run continues on the server"));
      this.onDone();
    }
  }
}

/**
 * Receive every event of a thread after number `after`, without gaps or repeats. It reconnects when a
 * connection breaks.
 *
 * onConnection(connected) is called when the connection is made, and when it is lost. Ends when `signal` is
 * aborted. Throws an AgentError when the server refuses.
 */
export async function followThread(threadId, onEvent, { after = 0, signal, onConnection = () => {}, ...more } = {}) {
  const path = `/api/threads/${encodeURIComponent(threadId)}/events`;
  for (let wait = 250; !signal?.aborted; wait = Math.min(wait * 2, 5000)) {
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": String(after) };
      const response = await request(path, { ...more, headers, signal });
      onConnection(true);
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
    if (signal?.aborted) return;
    onConnection(false);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** Read a response's Server-Sent Events. Calls onMessage({event, data, id}) for each one with data. */
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
