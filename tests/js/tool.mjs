/** The page's view of a thread with tool steps. Prints what it sends and shows. */

import { Element } from "./document.mjs";

const { RunView } = await import(process.argv[2]);

const sent = [];
const root = new Element("article");
const view = new RunView(root, "t", async (path, body) => sent.push(body.answers));
const seen = {};
const boxes = () => root.all((one) => one.className === "approval");
const press = async (box, text) => box.querySelectorAll("button").find((one) => one.textContent === text).onclick({ target: {} });
const question = { kind: "tool", tool: "git_push", params: {}, command: "git push -- origin", effect: "outside", reason: "the default", step: "Show it" };
const ask = (id, more = {}) => view.add({ type: "approval.required", data: { id, request: { ...question, ...more } } });

view.add({ type: "run.started", run_id: "r", data: { task: "Add mul", repo: "/repo" } });
ask("i1");
ask("i2");
const [first, second] = boxes();
seen.title = first.querySelectorAll("h2")[0].textContent;
seen.command = first.querySelectorAll("code").map((one) => one.textContent);
seen.told = first.querySelectorAll("p").map((one) => one.textContent).join(" ");
await press(first, "Also later in this repository");
seen.scoped = sent.at(-1).i1;
await press(second, "Edit");
const area = second.querySelectorAll("textarea")[0];
area.value = '{"branch": "autocode/b"}';
area.oninput();
await press(second, "Approve");
seen.edited = sent.at(-1).i2;
second.querySelectorAll("input")[0].value = "not there";
await press(second, "Reject");
seen.refused = sent.at(-1).i2;
view.add({ type: "approval.resolved", data: { id: "i1", decision: "approve" } });
seen.left = boxes().length;
view.add({ type: "approval.resolved", data: { id: "i2", decision: "reject" } });
ask("i3", { uncertain: true, reason: "this may have happened already" });
seen.again = boxes()[0].querySelectorAll("button").map((one) => one.textContent);
seen.uncertain = boxes()[0].textContent;
view.add({ type: "tool.result", node: "tool", step_id: "s1", data: { tool: "git_push", stdout: "pushed\n", stderr: "", returncode: 0 } });
seen.output = root.textContent;
ask("i4", { command: "python -c '\u202etnirp\u202c' \u200b\x1b[2J" });
view.add({ type: "plan", data: { plan: { explanation: "", steps: [
  { id: "s1", agent: "tool", description: "Tidy up", group: 0, tool_name: "rm_rf", tool_params: { paths: ["docs"] } },
] } } });
seen.planned = root.textContent;
seen.hidden = boxes().at(-1).querySelectorAll("code")[0].textContent;
console.log(JSON.stringify(seen));
