// Drives a server with LangGraph's npm SDK and prints what it saw as JSON: node client.mjs URL REPO
import { Client } from "@langchain/langgraph-sdk";
import { MessageTupleManager } from "@langchain/langgraph-sdk/ui";

const [apiUrl, repo] = process.argv.slice(2);
const client = new Client({ apiUrl, apiKey: null, callerOptions: { maxRetries: 0 } });
const input = { task: "Add mul", repo };

async function collected(stream, enough = Infinity) {
  const parts = [];
  for await (const part of stream) {
    parts.push(part);
    if (parts.length >= enough) break;
  }
  return parts;
}

async function refused(call) {
  try {
    const answer = await call;
    if (answer?.[Symbol.asyncIterator]) await collected(answer);
  } catch (error) {
    return { status: error.status, text: error.text };
  }
  return null;
}

const seen = {};
const [assistant] = await client.assistants.search({ graphId: "autocode" });
seen.assistant = assistant.assistant_id;
seen.nodes = (await client.assistants.getGraph(assistant.assistant_id)).nodes.map((node) => node.id);
seen.schemas = Object.keys(await client.assistants.getSchemas("autocode"));

const thread = await client.threads.create({ metadata: { from: "node" } });
const id = thread.thread_id;
let created;
const asked = await collected(
  client.runs.stream(id, "autocode", {
    input: { ...input, options: { approve_plan: true } },
    streamMode: ["values", "messages-tuple", "updates", "custom"],
    onRunCreated: (run) => (created = run),
  }),
);
seen.created = created.thread_id === id;
seen.events = [...new Set(asked.map((part) => part.event))];
seen.interrupts = asked.at(-1).data.__interrupt__;
const manager = new MessageTupleManager();
for (const part of asked.filter((one) => one.event === "messages")) manager.add(...part.data);
seen.spoken = Object.values(manager.chunks).map(({ chunk, metadata }) => [metadata.langgraph_node, chunk.text]);
seen.waiting = (await client.threads.get(id)).status;

const resumed = await collected(
  client.runs.stream(id, "autocode", {
    command: { resume: { [seen.interrupts[0].id]: { decision: "approve" } } },
    streamMode: ["updates"],
  }),
);
seen.updates = resumed.filter((part) => part.event === "updates").flatMap((part) => Object.keys(part.data));
const run = await client.runs.get(id, created.run_id);
seen.status = [run.status, run.metadata.outcome];
const state = await client.threads.getState(id);
seen.missing = state.values.missing;
seen.messages = state.values.messages.map((message) => message.type);
seen.history = (await client.threads.getHistory(id, { limit: 3 })).length;
seen.found = (await client.threads.search({ metadata: { from: "node" }, ids: [id] })).length;

const modes = { streamMode: ["updates", "messages-tuple"] };
const whole = await collected(client.runs.joinStream(id, created.run_id, { ...modes, lastEventId: "-1" }));
const first = await collected(client.runs.joinStream(id, created.run_id, { ...modes, lastEventId: "-1" }), 9);
const rest = await collected(client.runs.joinStream(id, created.run_id, { ...modes, lastEventId: first.at(-1).id }));
seen.rejoined = JSON.stringify([...first, ...rest]) === JSON.stringify(whole);

const copy = await client.threads.copy(id);
seen.copied = copy.values.delivered === state.values.delivered;
const again = await client.runs.wait(copy.thread_id, "autocode", { input: { task: "And again", options: { approve_plan: false } } });
seen.followed = again.base === state.values.delivered;

const busy = await client.threads.create();
const slow = await client.runs.create(busy.thread_id, "autocode", { input: { ...input, task: "Add mul slowly" } });
const more = { input, multitaskStrategy: "reject" };
seen.rejected = await refused(client.runs.create(busy.thread_id, "autocode", more));
await client.runs.cancel(busy.thread_id, slow.run_id, true);
seen.cancelled = (await client.runs.get(busy.thread_id, slow.run_id)).status;
seen.unserved = await refused(client.runs.create(busy.thread_id, "autocode", { input, webhook: "http://x.org" }));
seen.unknown = await refused(client.threads.get("00000000-0000-4000-8000-000000000000"));
seen.invalid = await refused(client.runs.stream(busy.thread_id, "autocode", { input: { task: "" } }));
await client.threads.delete(busy.thread_id);
seen.deleted = (await refused(client.threads.get(busy.thread_id))).status;

console.log(JSON.stringify(seen));
