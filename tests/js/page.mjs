/** The page's view of a thread that asks about plans. Prints what it sends and shows. */

import { Element } from "./document.mjs";

const { RunView } = await import(process.argv[2]);

const sent = [];
let refusal = null;
const root = new Element("article");
const view = new RunView(root, "t", async (path, body) => {
  sent.push({ path, body });
  if (refusal) throw new Error(refusal);
});
const plan = { explanation: "As asked.", steps: [{ id: "s1", agent: "coder", description: "Add mul", group: 0 }] };
const ask = (id) => view.add({ type: "approval.required", data: { id, request: { kind: "plan", plan } } });
const button = (text) => root.querySelectorAll("button").find((one) => one.textContent === text);
const press = async (text) => button(text).onclick({ target: button(text) });
const problem = () => root.all((one) => one.className === "bad" && one.role === "alert" && !one.hidden).map((one) => one.textContent);
const seen = {};

view.add({ type: "run.started", run_id: "r", data: { task: "Add mul", repo: "/repo" } });
ask("i1");
view.add({ type: "run.finished", data: { status: "waiting", missing: [] } });
const edit = root.querySelectorAll("textarea")[0];
seen.hidden = edit.hidden;
await press("Edit");
seen.open = !edit.hidden;
edit.value = '{"steps": [}';
edit.oninput();
seen.typed = problem();
await press("Approve");
seen.unsent = sent.length;
seen.kept = edit.value;
edit.value = "[1]";
edit.oninput();
seen.list = problem();
const mine = { explanation: "Mine.", steps: [{ agent: "coder", description: "My way", parallel_group: 0 }] };
edit.value = JSON.stringify(mine);
edit.oninput();
seen.fine = problem();
refusal = "steps: too many";
await press("Approve");
seen.refused = problem();
seen.again = !button("Approve").disabled && edit.value === JSON.stringify(mine);
refusal = null;
await press("Approve");
seen.edited = sent.at(-1);
view.add({ type: "approval.resolved", data: { id: "i1", decision: "edit" } });

ask("i2");
await press("Approve");
seen.approved = sent.at(-1).body.answers.i2;
await press("Edit");
await press("Undo the edit");
await press("Approve");
seen.undone = sent.at(-1).body.answers.i2;
view.add({ type: "approval.resolved", data: { id: "i2", decision: "approve" } });

view.add({ type: "run.finished", data: { status: "cancelled", missing: ["the plan was refused"], reason: "the plan was refused" } });
seen.refusedResume = button("Resume").hidden;
view.add({ type: "run.finished", data: { status: "cancelled", missing: [], reason: "cancelled by the user" } });
seen.cancelledResume = button("Resume").hidden;
console.log(JSON.stringify(seen));
