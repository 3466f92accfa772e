/** The page: a form, the list of threads, and one thread. Data becomes text, never markup. */

import { AgentError, followThread, request, setKey } from "/client.js";
import { RunView } from "/static/run.js";
import { h, pill } from "/static/dom.js";

const find = (id) => document.getElementById(id);
const uploads = new Map();
let following = null;

/** Send a request and show an error. After a 401 the page asks for the key. */
async function send(path, more) {
  try {
    const response = await request(path, more);
    find("alert").hidden = true;
    return response;
  } catch (error) {
    showError(error);
    throw error;
  }
}

function showError(error) {
  const parts = [h("div", {}, error.message)];
  if (error instanceof AgentError && error.status === 401) {
    const input = h("input", { type: "password", placeholder: "AUTOCODE_API_KEY", autocomplete: "off" });
    const submit = (event) => {
      event.preventDefault();
      setKey(input.value.trim());
      find("alert").hidden = true;
      route();
    };
    parts.push(h("form", { onsubmit: submit }, input, h("button", {}, "Use this key")));
  }
  find("alert").replaceChildren(...parts);
  find("alert").hidden = false;
}

async function showThreads() {
  const threads = await (await send("/api/threads")).json();
  const current = decodeURIComponent(location.hash.slice(1));
  find("threads").replaceChildren(
    ...threads.map((thread) => {
      const link = h("a", { href: `#${encodeURIComponent(thread.id)}` });
      if (thread.id === current) link.setAttribute("aria-current", "page");
      link.append(h("div", { className: "title" }, thread.task || thread.id), pill(thread.status), " ");
      link.append(h("small", {}, new Date(thread.created).toLocaleString([], { dateStyle: "short", timeStyle: "short" })));
      return link;
    }),
  );
}

async function route() {
  following?.abort();
  following = null;
  const thread = decodeURIComponent(location.hash.slice(1));
  find("form").hidden = Boolean(thread);
  find("run").hidden = !thread;
  document.title = "AutoCodeAI";
  showThreads().catch(() => {});
  if (!thread) return;
  const mine = (following = new AbortController());
  const view = new RunView(find("run"), thread, (path, body) => send(path, { method: "POST", body }));
  view.onChange = () => showThreads().catch(() => {});
  view.loadDiff = async (run) => (await send(`/api/threads/${encodeURIComponent(thread)}/diff?run_id=${run}`)).text();
  try {
    await followThread(thread, (event) => view.add(event), { signal: mine.signal });
  } catch (error) {
    showError(error);
  }
}

function showUploads() {
  find("uploads").replaceChildren(
    ...[...uploads.keys()].map((name) => {
      const drop = () => uploads.delete(name) && showUploads();
      return h("li", {}, name, h("button", { type: "button", title: `Remove ${name}`, onclick: drop }, "×"));
    }),
  );
}

find("files").addEventListener("change", async ({ target }) => {
  for (const file of target.files) uploads.set(file.webkitRelativePath || file.name, await file.text());
  target.value = "";
  showUploads();
});

find("new").addEventListener("click", () => {
  location.hash = "";
  find("task").focus();
});

find("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  if (button) button.disabled = true;
  const paths = find("paths").value.split(",").map((path) => path.trim()).filter(Boolean);
  const contents = [...uploads].map(([path, content]) => ({ path, content }));
  const body = {
    task: find("task").value,
    context_files: [...paths, ...contents],
    options: { approve_plan: find("approve").checked },
  };
  if (find("repo").value.trim()) body.repo = find("repo").value.trim();
  try {
    const run = await (await send("/api/threads", { method: "POST", body })).json();
    find("task").value = "";
    uploads.clear();
    showUploads();
    location.hash = encodeURIComponent(run.thread_id);
  } catch {
    /* send has shown the error */
  } finally {
    if (button) button.disabled = false;
  }
});

addEventListener("hashchange", route);
route();
