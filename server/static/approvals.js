/** The questions of a run: each is a box with what it is about, and the buttons that answer it. */

import { diffView, h, visible } from "/static/dom.js";

const REJECTION = "An edit is what runs. Rejected with a reason, the plan is made again. Without one, the run ends.";

/** Create the box of a question. `post(answer)` sends an answer, and fails with the reason if it is refused. */
export function question(request, post) {
  const problem = h("p", { className: "bad", role: "alert", hidden: true });
  const explain = (text) => {
    problem.textContent = text;
    problem.hidden = !text;
  };
  const send = async (answer) => {
    const buttons = box.querySelectorAll("button");
    buttons.forEach((button) => (button.disabled = true));
    try {
      await post(answer);
    } catch (error) {
      explain(error.message);
      buttons.forEach((button) => (button.disabled = false));
    }
  };
  const environment = request.commands?.length ? build : goingOn;
  const kinds = request.kind === "environment" ? environment : editable;
  const { title, parts } = kinds(request, send, explain);
  const box = h("section", { className: "approval", role: "alert" }, h("h2", {}, `Waiting for you: ${title}`), ...parts(problem));
  return box;
}

/** Ask about a plan or the parameters of a tool, which can be edited as JSON. */
function editable(request, send, explain) {
  const key = request.kind === "plan" ? "plan" : "params";
  const original = JSON.stringify(withoutIds(request[key] ?? {}), null, 2);
  const edit = h("textarea", { rows: 14, value: original, hidden: true, ariaLabel: `The ${key} as JSON` });
  const reason = h("input", { placeholder: "what should be different", ariaLabel: "Reason for a rejection" });
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
  const again = (scope) => () => (edit.hidden ? send({ decision: "approve", scope }) : explain("Approve the edit alone."));
  const scopes = request.kind !== "tool" || request.uncertain ? [] : [
    button("Also later in this run", again("run")), button("Also later in this repository", again("repository")),
  ];
  edit.oninput = () => explain(jsonFault(edit.value));
  if (request.problem) explain(request.problem);
  const parts = (problem) => [
    ...(request.kind === "plan" ? [] : toolFacts(request)),
    edit, problem,
    bar(button("Approve", approve, "primary"), ...scopes, button("Edit", toggle), reason, button("Reject", reject, "danger")),
    request.kind === "plan" ? h("p", { className: "meta" }, REJECTION) : null,
  ];
  return { title: request.kind === "plan" ? "approve this plan?" : `run ${request.tool}?`, parts };
}

/** What a person must know of a tool before it runs: the step, its command, and why it asks. */
function toolFacts({ step, command, remote, reason, uncertain, difference = [], renewal }) {
  return [
    h("p", {}, visible(step ?? "")),
    commandList([command ?? ""]),
    ...(remote ? [h("p", {}, `The remote is ${visible(remote)}.`)] : []),
    difference.length ? diffView(difference.join("\n")) : null,
    renewal ? h("p", {}, `The lock is renewed, with network: ${visible(renewal)}`) : null,
    h("p", { className: uncertain ? "bad" : "meta" }, `Why: ${visible(reason)}`),
  ];
}

/** Ask whether an environment may be built, or which one at hand is used instead. */
function build(request, send, explain) {
  const { commands, sources = [], reasons = [], packages = [], at_hand: atHand = [], difference = [] } = request;
  const facts = [...reasons, packages.length ? `system packages: ${packages.join(", ")}` : ""].filter(Boolean);
  const uses = atHand.map((venv) => button(`Use ${venv}`, () => send({ decision: "edit", params: { venv } })));
  if (request.problem) explain(request.problem);
  const parts = (problem) => [
    h("p", {}, `The tests need an environment${sources.length ? `, made from ${sources.join(", ")}` : ""}.`),
    facts.length ? h("ul", {}, ...facts.map((fact) => h("li", {}, fact))) : null,
    h("p", {}, "These commands run once, in the sandbox, with network and without your keys:"),
    commandList(commands),
    difference.length ? h("p", {}, "The change alters what the environment is made from:") : null,
    difference.length ? diffView(difference.join("\n")) : null,
    atHand.length ? h("p", {}, `Instead, ${atHand.join(" or ")} can be used as it is, read-only. Then nothing is installed.`) : null,
    problem,
    bar(button("Approve", () => send({ decision: "approve" }), "primary"), ...uses, refusal(send, "Refuse")),
  ];
  return { title: "build this environment?", parts };
}

/** Ask whether a run goes on without its environment. */
function goingOn(request, send) {
  const parts = (problem) => [
    h("pre", { className: "problem" }, request.problem ?? ""),
    h("p", {}, "Without it, the result cannot be verified."),
    problem,
    bar(button("Go on without it", () => send({ decision: "approve" }), "primary"), refusal(send, "End the run")),
  ];
  return { title: "go on without the environment?", parts };
}

/** Create the lines of commands. */
export function commandList(commands) {
  return h("ol", { className: "commands" }, ...commands.map((command) => h("li", {}, h("code", {}, visible(command)))));
}

function refusal(send, text) {
  return button(text, () => send({ decision: "reject" }), "danger");
}

function button(text, onclick, className = "") {
  return h("button", { type: "button", className, onclick }, text);
}

function bar(...children) {
  return h("div", { className: "bar" }, ...children);
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
  const steps = value.steps.map(({ id, group, file, files, ...step }) => ({
    ...step, ...(files ? { files } : file ? { file } : {}), parallel_group: group,
  }));
  return { explanation: value.explanation, steps };
}
