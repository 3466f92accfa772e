/** Events in words. */

import type { Payloads, Step } from "../api/events";
import { visible } from "../text/visible";

const CALL = 140;

/** A tool call and its result in one line, such as `$ pytest -k json → 1 failed, 0.8 s`. */
export function callLine({ name, arguments: given, summary, seconds }: Payloads["tool.call"]): string {
  const about = String(given["command"] ?? given["file_path"] ?? given["query"] ?? "").split("\n", 1)[0]?.slice(0, CALL) ?? "";
  const call = name === "execute" && about ? `$ ${about}` : `${name} ${about}`.trimEnd();
  return `${call} → ${summary ?? ""}, ${seconds.toFixed(1)} s`;
}

/** The counts of a check, or the exit code where there are none. */
export function counts(check: Payloads["check"]): string {
  const { passed, failed, cases, grade, command = [], exit_code: code } = check;
  if (grade === "exit code") return `${command.join(" ")} ended with exit code ${code}`;
  if (!cases.length && !passed && !failed) return `no test ran, exit code ${code}`;
  return failed ? `${passed} passed, ${failed} failed` : `${passed} passed`;
}

/** The tool of a step with its parameters, such as `git_push branch="main"`. */
export function stepCall(tool: string, params?: Record<string, unknown>): string {
  return [tool, ...Object.entries(params ?? {}).map(([name, value]) => `${name}=${JSON.stringify(value)}`)].join(" ");
}

/** The files that a step edits and those that it only reads, or the call of its tool. */
export function placesOf(step: Step): string {
  const { file, files = file ? [file] : [], context_files: read = [], tool_name: tool, tool_params: params } = step;
  if (tool) return visible(stepCall(tool, params));
  return visible([files.join(", "), read.length ? `reads ${read.join(", ")}` : ""].filter(Boolean).join(", "));
}

const TITLES: Record<string, string> = {
  planner: "Planning", coder: "Coding", tester: "Writing tests", sandbox: "Checking", debugger: "Repairing",
  critic: "Reviewing", tool: "Running a tool", snapshot: "Taking a snapshot", environment: "Building the environment",
};

/** Name the work of a node. A node without a name keeps its own. */
export function titleOfNode(node: string): string {
  if (node.startsWith("environment of ")) return `Building the ${node}`;
  return TITLES[node] ?? node;
}

/** The line of a program that starts in the sandbox. */
export function startLine({ what, command }: Payloads["sandbox.started"]): string {
  return what === "command" ? `$ ${command.join(" ")} …` : what;
}
