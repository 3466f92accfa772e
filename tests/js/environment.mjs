/** The page's view of a thread whose environment is asked for and built. Prints what it sends and shows. */

import { Element } from "./document.mjs";

const { RunView } = await import(process.argv[2]);

const sent = [];
let refusal = null;
const root = new Element("article");
const view = new RunView(root, "t", async (path, body) => {
  sent.push(body.answers);
  if (refusal) throw new Error(refusal);
});
const seen = {};
const texts = (tag) => root.querySelectorAll(tag).map((one) => one.textContent);
const box = () => root.all((one) => one.className === "approval")[0];
const ask = (id, request) => view.add({ type: "approval.required", data: { id, request: { kind: "environment", ...request } } });
const press = async (text) => box().querySelectorAll("button").find((one) => one.textContent === text).onclick({});
const answered = (id) => view.add({ type: "approval.resolved", data: { id, decision: "approve" } });
const build = {
  commands: ["uv venv", "uv pip install -e '.[dev]'"],
  sources: ["pyproject.toml", "uv.lock"],
  reasons: ["Python 3.12"],
  packages: ["libxml2-dev"],
  at_hand: [".venv"],
  difference: ["@@ -1 +1 @@", '+"lxml"'],
};

view.add({ type: "run.started", run_id: "r", data: { task: "Add mul", repo: "/repo" } });
ask("i1", build);
seen.commands = texts("code").filter((text) => text.startsWith("uv "));
seen.textareas = root.querySelectorAll("textarea").length;
seen.buttons = box().querySelectorAll("button").map((one) => one.textContent);
seen.told = box().textContent;
seen.difference = box().querySelectorAll("span").map((one) => [one.textContent, one.className]);
refusal = "no longer waits";
await press("Approve");
seen.failure = box().all((one) => one.role === "alert" && !one.hidden && one.tag === "p").map((one) => one.textContent);
seen.again = !box().querySelectorAll("button")[0].disabled;
refusal = null;
await press("Approve");
seen.approved = sent.at(-1).i1;
answered("i1");
ask("i2", build);
await press("Use .venv");
seen.used = sent.at(-1).i2;
answered("i2");
ask("i3", build);
await press("Refuse");
seen.refused = sent.at(-1).i3;
answered("i3");
ask("i4", { commands: [], problem: "ffi.h is missing\n    #include <ffi.h>", question: "Go on?" });
seen.goOn = box().querySelectorAll("button").map((one) => one.textContent);
seen.problem = box().querySelectorAll("pre")[0].textContent;
await press("Go on without it");
seen.went = sent.at(-1).i4;
await press("End the run");
seen.ended = sent.at(-1).i4;
answered("i4");

const blocks = () => root.all((one) => one.className === "row" && one.textContent.includes("environment"));
const report = (data, ts = new Date().toISOString()) => view.add({ type: "environment", ts, node: "environment", data });
const look = () => {
  const block = blocks().at(-1);
  const find = (name) => block.all((one) => one.className === name)[0]?.textContent;
  return {
    open: block.open,
    what: find("what"),
    outcome: find("outcome"),
    mark: block.all((one) => one.className?.startsWith("pill"))[0].textContent,
    output: block.children.at(-1).textContent,
  };
};
report({ status: "building", commands: build.commands });
report({ status: "output", text: "Resolved 9\n" });
report({ status: "output", text: "Prepared 9\n" });
seen.building = look();
report({ status: "ready", key: "3f2a", seconds: 12.3 });
seen.ready = look();
report({ status: "building", commands: ["npm ci"], folder: "web" });
report({ status: "failed", folder: "web", text: "node is missing\nLast lines of the output:" });
seen.failed = look();
report({ status: "building", commands: ["npm ci"] });
view.add({ type: "run.finished", data: { status: "cancelled", missing: [], reason: "cancelled by the user" } });
seen.stopped = look();
seen.blocks = blocks().length;
console.log(JSON.stringify(seen));
