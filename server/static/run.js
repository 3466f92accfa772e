/** One thread, drawn from its events: plan, output, checks, verdict, approvals, diff. */

import { commandList, question } from "/static/approvals.js";
import { diffView, h, pill, visible } from "/static/dom.js";

const QUIET = new Set(["snapshot", "environment", "go_on", "recall", "tryout", "approval", "dispatch", "merge", "commit"]);
const OUTPUT = 200_000;
const NOTE = "Send a note to the agents…";
const ANSWER = "Answer: yes, or what should be different…";

/** Tokens and cost so far. Without some prices the cost is a lower bound, and without all it is unknown. */
function spending({ total_tokens: tokens, total_cost_usd: cost, unpriced, estimated }) {
  const about = estimated ? "≈" : "";
  const price = unpriced && !cost ? "price unknown" : `${unpriced ? "over " : about}$${cost.toFixed(4)}`;
  return `${about}${tokens.toLocaleString()} tokens, ${price}`;
}

/** A tool call and its result in one line, as `$ pytest -k json → 1 failed, 0.8 s`. */
function toolCall({ name, arguments: given, summary, seconds }) {
  const about = String(given.command ?? given.file_path ?? given.query ?? "").split("\n")[0].slice(0, 100);
  const call = name === "execute" && about ? `$ ${about}` : `${name} ${about}`.trimEnd();
  return `${call} → ${summary}, ${seconds.toFixed(1)} s`;
}

export class RunView {
  onChange = () => {};
  loadDiff = async () => "";

  constructor(root, thread, post) {
    Object.assign(this, { root, thread, post });
    this.at = `/api/threads/${encodeURIComponent(thread)}`;
    this.approvals = new Map();
    this.#clear();
  }

  /** Show the next event. */
  add(event) {
    const { type, data } = event;
    if (type === "run.started") this.#begin(event);
    else if (type === "plan") this.#plan(data.plan);
    else if (type === "node.started") this.#start(event);
    else if (type === "node.finished") this.#finish(event);
    else if (type === "token" || type === "sandbox.output") this.#write(this.#row(event), data.text);
    else if (type === "edit") this.#outcome(event, `+${data.added} −${data.removed} ${data.files.map((f) => f.path).join(", ")}`);
    else if (type === "environment") this.#build(event);
    else if (type === "sandbox.started") this.#outcome(event, data.what === "command" ? `$ ${data.command.join(" ")} …` : data.what);
    else if (type === "check") this.#check(event);
    else if (type === "tool.call") this.#call(event);
    else if (type === "verdict") this.#verdict(event);
    else if (type === "tool.result") this.#write(this.#row(event), data.stdout + data.stderr);
    else if (type === "message" && data.role === "assistant") this.answer = data.text;
    else if (type === "message") this.#note(this.#row({ node: "you", step_id: `note ${event.seq}` }), data.text);
    else if (type === "retry") this.#retry(event);
    else if (type === "error") this.#error(event);
    else if (type === "budget") this.tokens.textContent = spending(data);
    else if (type === "approval.required") this.#addApproval(data);
    else if (type === "approval.resolved") this.#removeApproval(data);
    else if (type === "run.finished") this.#end(data);
  }

  #clear() {
    clearInterval(this.build?.timer);
    this.build = null;
    this.answer = "";
    this.rows = new Map();
    this.steps = new Map();
    this.title = h("h2", {}, "…");
    this.status = h("span");
    this.place = h("div", { className: "meta" });
    this.tokens = h("span", { className: "meta" });
    this.waiting = h("div");
    this.outline = h("div");
    this.work = h("div");
    this.result = h("div");
    this.root.replaceChildren(
      h("div", { className: "head" }, this.title, this.status),
      this.place, this.#bar(), this.waiting, this.outline,
      h("h3", {}, "Work"), this.work, this.result,
    );
  }

  #bar() {
    const post = (path, body) => () => this.post(this.at + path, body).catch(() => {});
    this.stop = h("button", { type: "button", className: "danger", onclick: post("/cancel") }, "Cancel");
    this.go = h("button", { type: "button", onclick: post("/resume"), hidden: true }, "Resume");
    const note = h("input", { placeholder: NOTE, ariaLabel: "Note to the agents, or answer" });
    this.tell = h("form", { className: "bar card", hidden: true }, note, h("button", {}, "Send"));
    this.tell.onsubmit = async (event) => {
      event.preventDefault();
      if (!note.value.trim()) return;
      await this.post(`${this.at}/messages`, { text: note.value }).then(() => (note.value = ""), () => {});
    };
    return h("div", {}, h("div", { className: "bar" }, this.stop, this.go, this.tokens), this.tell);
  }

  #show(status, refused = false) {
    this.status.replaceChildren(pill(status));
    const running = status === "running";
    this.stop.hidden = !running && status !== "waiting";
    this.tell.hidden = !running && status !== "waiting";
    this.tell.firstChild.placeholder = [...this.approvals.values()].at(-1)?.answer ?? NOTE;
    this.go.hidden = refused || !["cancelled", "failed"].includes(status);
    document.title = `${status === "waiting" ? "(!) " : ""}${status} · AutoCodeAI`;
    this.onChange();
  }

  #begin({ data, run_id: run }) {
    if (this.run !== run) this.#clear();
    this.run = run;
    this.title.textContent = data.task;
    this.place.replaceChildren("thread ", h("code", {}, this.thread), " in ", h("code", {}, data.repo));
    this.result.replaceChildren();
    this.#show("running");
  }

  #plan(plan) {
    this.steps = new Map(plan.steps.map((step) => [step.id, step]));
    const groups = Map.groupBy ? Map.groupBy(plan.steps, (step) => step.group) : groupBy(plan.steps);
    const items = [...groups.values()].map((steps) =>
      h("li", { className: steps.length > 1 ? "together" : "" },
        steps.length > 1 ? h("div", { className: "group" }, `${steps.length} in parallel`) : null,
        ...steps.map((step) => {
          const place = h("span", {}, pill("planned"));
          step.place = place;
          return h("div", {}, place, " ", step.description, h("span", { className: "meta" }, ` ${places(step)}`));
        })),
    );
    this.outline.replaceChildren(
      h("h3", {}, "Plan"), h("p", {}, plan.explanation), h("ol", { className: "plan" }, ...items),
    );
  }

  #row({ node, step_id: step }) {
    const own = this.steps.has(step) || node === "you";
    const key = own ? `${node} ${step}` : String(node);
    if (this.rows.has(key)) return this.rows.get(key);
    const planned = own ? this.steps.get(step) : null;
    const row = { ...newRow(planned ? `${node}: ${planned.description}` : (node ?? "run")), step: planned };
    this.rows.set(key, row);
    if (!QUIET.has(node)) this.work.append(row.box);
    return row;
  }

  /** The build of an environment: a block with its commands, output and seconds, closed when it has ended. */
  #build({ ts, data }) {
    const { status, folder, commands = [], seconds, text } = data;
    const name = `environment${folder ? ` of ${folder}` : ""}`;
    if (status === "building" || !this.build) {
      this.build = newRow(name);
      this.work.append(this.build.box);
    }
    const row = this.build;
    if (status === "output") return this.#write(row, text);
    clearInterval(row.timer);
    row.box.open = status === "building";
    if (status === "building") {
      const began = Date.parse(ts);
      const tick = () => (row.outcome.textContent = `building, ${Math.max(0, Math.round((Date.now() - began) / 1000))} s`);
      row.extra.replaceChildren(commandList(commands));
      tick();
      row.timer = setInterval(tick, 1000);
      return this.#mark(row, "running");
    }
    if (status === "failed") row.notes.append(h("li", {}, h("pre", { className: "problem" }, text)));
    row.outcome.textContent = status === "ready" ? `ready, ${seconds.toFixed(1)} s` : text.split("\n", 1)[0];
    this.#mark(row, status === "ready" ? "done" : "failed");
    this.build = null;
  }

  #mark(row, look) {
    row.mark.replaceChildren(pill(look));
    row.step?.place?.replaceChildren(pill(look));
  }

  #start(event) {
    const row = this.#row(event);
    row.failed = false;
    this.#mark(row, "running");
    row.box.open = true;
    this.work.append(...(QUIET.has(event.node) ? [] : [row.box]));
  }

  #finish(event) {
    const row = this.#row(event);
    row.box.open = false;
    if (event.data.error) this.#note(row, event.data.error);
    if (event.data.error || row.failed) this.#fail(row);
    else this.#mark(row, "done");
  }

  #write(row, text) {
    const node = row.output.lastChild ?? row.output.appendChild(document.createTextNode(""));
    node.appendData(text);
    if (node.length > OUTPUT) node.deleteData(0, node.length - OUTPUT);
    const distance = row.output.scrollHeight - row.output.scrollTop - row.output.clientHeight;
    if (distance < 120) row.output.scrollTop = row.output.scrollHeight;
  }

  #call(event) {
    const line = toolCall(event.data);
    this.#write(this.#row(event), `${line}\n`);
    this.#outcome(event, line);
  }

  #outcome(event, text) {
    this.#row(event).outcome.textContent = text;
  }

  #note(row, text) {
    row.notes.append(h("li", {}, text));
    if (!row.box.isConnected) this.work.append(row.box);
    row.box.open = true;
  }

  /** A retry, with a countdown to the next attempt. */
  #retry(event) {
    const { reason, wait_seconds: wait } = event.data;
    const row = this.#row(event);
    const at = Date.parse(event.ts) + 1000 * wait;
    this.#note(row, `retrying: ${reason}`);
    if (wait < 1 || at < Date.now()) return;
    const note = row.notes.lastChild;
    const timer = setInterval(() => {
      const left = Math.ceil((at - Date.now()) / 1000);
      note.textContent = left > 0 ? `retrying in ${left} s: ${reason}` : `retrying: ${reason}`;
      if (left <= 0 || !note.isConnected) clearInterval(timer);
    }, 500);
  }

  #fail(row) {
    row.failed = true;
    this.#mark(row, "failed");
  }

  #error(event) {
    const row = this.#row(event);
    this.#note(row, event.data.message);
    if (event.data.kind !== "warning") this.#fail(row);
  }

  #check(event) {
    const { green, passed, failed, problems, cases, gaps = [], grade, command, exit_code: code } = event.data;
    const row = this.#row(event);
    const counts = grade === "exit code"
      ? `${command.join(" ")} ended with exit code ${code}`
      : cases.length || passed || failed ? `${passed} passed, ${failed} failed` : `no test ran, exit code ${code}`;
    row.outcome.textContent = counts;
    const items = cases.map((result) =>
      h("li", { className: result.head === "passed" ? "good" : result.head === "skipped" ? "" : "bad" },
        `${result.head === "passed" ? "✓" : "✗"} ${result.id}${result.new ? " (new)" : ""}`));
    row.extra.replaceChildren(h("ul", { className: "cases" }, ...items));
    row.notes.replaceChildren(...[...problems, ...gaps].map((problem) => h("li", {}, problem)));
    row.failed = !green;
  }

  #verdict(event) {
    const row = this.#row(event);
    row.outcome.replaceChildren(pill(event.data.verdict));
    row.notes.replaceChildren(...event.data.reasons.map((reason) => h("li", {}, reason)));
    row.failed = event.data.verdict === "FAIL";
  }

  #addApproval({ id, request }) {
    this.approvals.get(id)?.remove();
    const box = question(request, (answer) => this.post(`${this.at}/approvals`, { answers: { [id]: answer } }));
    box.answer = request.kind === "environment" ? "Answer: yes or no…" : ANSWER;
    this.approvals.set(id, box);
    this.waiting.append(box);
  }

  #removeApproval({ id, decision, reason }) {
    this.approvals.get(id)?.remove();
    this.approvals.delete(id);
    this.#note(this.#row({ node: "you" }), [decision, reason].filter(Boolean).join(": "));
  }

  async #end({ status, branch, reason, missing, proof, summary }) {
    if (this.build) {
      clearInterval(this.build.timer);
      this.build.outcome.textContent = "";
      this.#mark(this.build, "stopped");
      this.build = null;
    }
    this.#show(status, status === "cancelled" && missing.length > 0); // a refused plan would only be asked again
    if (status === "waiting" && this.approvals.size) return;
    const weak = summary?.weaknesses ?? [];
    const facts = [
      status === "answered" ? h("p", { className: "answer" }, this.answer) : null,
      status === "answered" ? h("p", { className: "meta" }, "No file was changed.") : null,
      summary ? h("p", {}, h("strong", {}, summary.headline)) : null,
      summary?.words ? h("p", { className: "words" }, summary.words) : null,
      reason ? h("p", {}, reason) : null,
      ...missing.filter((text) => text !== reason).map((text) => h("p", { className: "bad" }, text)),
      weak.length ? h("ul", { className: "weak" }, ...weak.map((text) => h("li", {}, text))) : null,
      summary?.advice ? h("p", {}, summary.advice) : null,
      branch ? h("p", {}, "Delivered as ", h("code", {}, branch)) : null,
      summary?.figures ? h("p", { className: "meta" }, summary.figures) : null,
      proof ? h("p", { className: "meta" }, `checked with ${proof.backend}: `, h("code", {}, proof.command.join(" "))) : null,
    ];
    this.result.replaceChildren(h("h3", {}, "Result"), h("div", { className: "card facts" }, pill(status), ...facts.filter(Boolean)));
    if (!branch) return;
    const shown = this.run;
    const diff = await this.loadDiff(shown).catch(() => "");
    if (diff && shown === this.run) this.result.append(h("h3", {}, "Change"), diffView(diff));
  }
}

/** The files that a step edits, and those that it only reads. */
function places({ file, files = file ? [file] : [], context_files: read = [], tool_name: tool, tool_params: params }) {
  if (tool) {
    const given = Object.entries(params ?? {}).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
    return visible([tool, ...given].join(" "));
  }
  return [files.join(", "), read.length ? `reads ${read.join(", ")}` : ""].filter(Boolean).join("; ");
}

/** Create a block of the work: a line that opens, with notes and output. */
function newRow(what) {
  const row = { output: h("pre"), notes: h("ul", { className: "notes" }), extra: h("div"), step: null };
  row.mark = h("span");
  row.outcome = h("span", { className: "outcome" });
  row.box = h("details", { className: "row" },
    h("summary", {}, row.mark, h("span", { className: "what" }, what), row.outcome),
    row.notes, row.extra, row.output);
  return row;
}

function groupBy(steps) {
  const groups = new Map();
  for (const step of steps) groups.set(step.group, [...(groups.get(step.group) ?? []), step]);
  return groups;
}
