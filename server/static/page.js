/** The page: a form, the list of threads, and one thread as its log tells it. Data becomes text, never markup. */

import { AgentError, followThread, request, setKey } from "/client.js";
import { RunView } from "/static/run.js";
import { h, pill } from "/static/dom.js";

const find = (id) => document.getElementById(id);
const brought = new Map();
let following = null;

/** Ask the server, show what goes wrong, and ask for the key where it wants one. */
async function ask(path, more) {
  try {
    const response = await request(path, more);
    find("alert").hidden = true;
    return response;
  } catch (error) {
    complain(error);
    throw error;
  }
}

function complain(error) {
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

async function list() {
  const threads = await (await ask("/api/threads")).json();
  const current = decodeURIComponent(location.hash.slice(1));
  find("threads").replaceChildren(
    ...threads.map((one) => {
      const link = h("a", { href: `#${encodeURIComponent(one.id)}` });
      if (one.id === current) link.setAttribute("aria-current", "page");
      link.append(h("div", { className: "title" }, one.task || one.id), pill(one.status), " ");
      link.append(h("small", {}, new Date(one.created).toLocaleString([], { dateStyle: "short", timeStyle: "short" })));
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
  list().catch(() => {});
  if (!thread) return;
  const mine = (following = new AbortController());
  const view = new RunView(find("run"), thread, (path, body) => ask(path, { method: "POST", body }));
  view.whenChanged = () => list().catch(() => {});
  view.whenDelivered = async () => (await ask(`/api/threads/${encodeURIComponent(thread)}/diff`)).text();
  try {
    await followThread(thread, (event) => view.take(event), { signal: mine.signal });
  } catch (error) {
    complain(error);
  }
}

function showBrought() {
  find("brought").replaceChildren(
    ...[...brought.keys()].map((name) => {
      const drop = () => brought.delete(name) && showBrought();
      return h("li", {}, name, h("button", { type: "button", title: `Leave ${name} out`, onclick: drop }, "×"));
    }),
  );
}

find("files").addEventListener("change", async ({ target }) => {
  for (const file of target.files) brought.set(file.webkitRelativePath || file.name, await file.text());
  target.value = "";
  showBrought();
});

find("new").addEventListener("click", () => {
  location.hash = "";
  find("task").focus();
});

find("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  if (button) button.disabled = true;
  const named = find("paths").value.split(",").map((one) => one.trim()).filter(Boolean);
  const contents = [...brought].map(([path, content]) => ({ path, content }));
  const body = {
    task: find("task").value,
    context_files: [...named, ...contents],
    options: { approve_plan: find("approve").checked },
  };
  if (find("repo").value.trim()) body.repo = find("repo").value.trim();
  try {
    const run = await (await ask("/api/threads", { method: "POST", body })).json();
    find("task").value = "";
    brought.clear();
    showBrought();
    location.hash = encodeURIComponent(run.thread_id);
  } catch {
    /* shown already */
  } finally {
    if (button) button.disabled = false;
  }
});

addEventListener("hashchange", route);
route();
