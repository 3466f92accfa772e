/** One thread, drawn from its events: plan, output, checks, verdict, approvals, diff. */

import { diffView, h, pill } from "/static/dom.js";

const QUIET = new Set(["snapshot", "environment", "go_on", "recall", "tryout", "approval", "dispatch", "merge", "commit"]);
const OUTPUT = 200_000;
const NOTE = "Send a note to the agents…";
const ANSWER = "Answer: yes, or what should be different…";
const REJECTION = "An edit is what runs. Rejected with a reason, the plan is made again. Without one, the run ends.";

/** Tokens and cost so far. Without some prices the cost is a lower bound, and without all it is unknown. */
function spending({ total_tokens: tokens, total_cost_usd: cost, unpriced, estimated }) {
  const about = estimated ? "≈" : "";
  const price = unpriced && !cost ? "price unknown" : `${unpriced ? "over " : about}$${cost.toFixed(4)}`;
  return `${about}${tokens.toLocaleString()} tokens, ${price}`;
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
    else if (type === "sandbox.started") this.#outcome(event, data.what);
    else if (type === "check") this.#check(event);
    else if (type === "verdict") this.#verdict(event);
    else if (type === "tool.result") this.#write(this.#row(event), data.stdout + data.stderr);
    else if (type === "message") this.#note(this.#row({ node: "you", step_id: `note ${event.seq}` }), data.text);
    else if (type === "retry") this.#retry(event);
    else if (type === "error") this.#error(event);
    else if (type === "budget") this.tokens.textContent = spending(data);
    else if (type === "approval.required") this.#addApproval(data);
    else if (type === "approval.resolved") this.#removeApproval(data);
    else if (type === "run.finished") this.#end(data);
  }

  #clear() {
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
    this.tell.firstChild.placeholder = this.approvals.size ? ANSWER : NOTE;
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
          return h("div", {}, place, " ", step.description, step.file ? h("span", { className: "meta" }, ` ${step.file}`) : null);
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
    const row = { output: h("pre"), notes: h("ul", { className: "notes" }), extra: h("div"), step: own ? this.steps.get(step) : null };
    row.mark = h("span");
    row.outcome = h("span", { className: "outcome" });
    const what = row.step ? `${node}: ${row.step.description}` : (node ?? "run");
    row.box = h("details", { className: "row" },
      h("summary", {}, row.mark, h("span", { className: "what" }, what), row.outcome),
      row.notes, row.extra, row.output);
    row.size = 0;
    this.rows.set(key, row);
    if (!QUIET.has(node)) this.work.append(row.box);
    return row;
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
    const key = request.kind === "tool" ? "params" : "plan";
    const original = JSON.stringify(withoutIds(request[key] ?? {}), null, 2);
    const edit = h("textarea", { rows: 14, value: original, hidden: true, ariaLabel: `The ${key} as JSON` });
    const problem = h("p", { className: "bad", role: "alert", hidden: true });
    const reason = h("input", { placeholder: "what should be different", ariaLabel: "Reason for a rejection" });
    const explain = (text) => {
      problem.textContent = text;
      problem.hidden = !text;
    };
    const send = async (answer) => {
      const buttons = box.querySelectorAll("button");
      buttons.forEach((button) => (button.disabled = true));
      try {
        await this.post(`${this.at}/approvals`, { answers: { [id]: answer } });
      } catch (error) {
        explain(error.message);
        buttons.forEach((button) => (button.disabled = false));
      }
    };
    const approve = () => {
      if (edit.hidden || edit.value === original) return send({ decision: "approve" });
      const fault = jsonFault(edit.value);
      explain(fault);
      if (!fault) send({ decision: "edit", [key]: JSON.parse(edit.value) });
    };
    const toggle = ({ target }) => {
      edit.hidden = !edit.hidden;
      if (edit.hidden) edit.value = original;
      target.textContent = edit.hidden ? "Edit" : "Undo the edit";
      explain("");
      if (!edit.hidden) edit.focus();
    };
    const reject = () => send({ decision: "reject", ...(reason.value.trim() ? { reason: reason.value } : {}) });
    edit.oninput = () => explain(jsonFault(edit.value));
    if (request.problem) explain(request.problem);
    const box = h("section", { className: "approval", role: "alert" },
      h("h2", {}, `Waiting for you: approve this ${request.kind}?`),
      request.kind === "plan" ? null : h("pre", {}, JSON.stringify(request, null, 2)),
      edit, problem,
      h("div", { className: "bar" },
        h("button", { type: "button", className: "primary", onclick: approve }, "Approve"),
        h("button", { type: "button", onclick: toggle }, "Edit"),
        reason,
        h("button", { type: "button", className: "danger", onclick: reject }, "Reject")),
      request.kind === "plan" ? h("p", { className: "meta" }, REJECTION) : null);
    this.approvals.set(id, box);
    this.waiting.append(box);
  }

  #removeApproval({ id, decision, reason }) {
    this.approvals.get(id)?.remove();
    this.approvals.delete(id);
    this.#note(this.#row({ node: "you" }), [decision, reason].filter(Boolean).join(": "));
  }

  async #end({ status, branch, reason, missing, proof, summary }) {
    this.#show(status, status === "cancelled" && missing.length > 0); // a refused plan would only be asked again
    if (status === "waiting" && this.approvals.size) return;
    const weak = summary?.weaknesses ?? [];
    const facts = [
      summary ? h("p", {}, h("strong", {}, summary.headline)) : null,
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

/** Return why a text is no JSON object, nothing if it is one. */
function jsonFault(text) {
  try {
    const value = JSON.parse(text);
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return "";
    return "This is not a JSON object.";
  } catch (error) {
    return `This is not JSON: ${error.message}. Nothing was sent.`;
  }
}

/** Convert a plan to the format of planners: `parallel_group` for groups, no ids. */
function withoutIds(value) {
  if (!Array.isArray(value.steps)) return value;
  const steps = value.steps.map(({ id, group, ...step }) => ({ ...step, parallel_group: group }));
  return { explanation: value.explanation, steps };
}

function groupBy(steps) {
  const groups = new Map();
  for (const step of steps) groups.set(step.group, [...(groups.get(step.group) ?? []), step]);
  return groups;
}
