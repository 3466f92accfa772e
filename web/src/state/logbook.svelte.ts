/** The lines of a thread's log, as they are shown. Pieces of one speech are joined to whole lines. */

import type { LogEvent } from "../api/events";
import { statusName } from "../text/format";
import { callLine, counts } from "./words";

export interface LogLine {
  seq: number;
  time: string;
  from: string;
  text: string;
  kind: "text" | "output" | "event" | "bad";
}

export class LogBook {
  /** Changes when there are new lines to show. */
  version = $state(0);
  readonly lines: LogLine[] = [];
  readonly #open = new Map<string, LogLine>();

  add(event: LogEvent): void {
    const from = event.node ?? "run";
    if (event.type === "token") return this.#write(event, `${from} ${event.step_id ?? ""}`, event.data.text, "text");
    if (event.type === "sandbox.output") return this.#write(event, `${from} output`, event.data.text, "output");
    if (event.type === "environment" && event.data.status === "output") {
      return this.#write(event, "environment", event.data.text ?? "", "output");
    }
    const [text, bad] = describe(event);
    if (text) for (const line of text.split("\n")) this.#push(event, line, bad ? "bad" : "event");
  }

  /** Let the lines that were added appear. */
  show(): void {
    this.version += 1;
  }

  #push(event: LogEvent, text: string, kind: LogLine["kind"]): LogLine {
    const line = { seq: event.seq, time: event.ts.slice(11, 19), from: authorOf(event), text, kind };
    this.lines.push(line);
    return line;
  }

  #write(event: LogEvent, speaker: string, text: string, kind: "text" | "output"): void {
    const pieces = text.split("\n");
    pieces.forEach((piece, number) => {
      const open = this.#open.get(speaker);
      if (number === 0 && open) open.text += piece;
      else this.#open.set(speaker, this.#push(event, piece, kind));
    });
    if (text.endsWith("\n")) {
      const empty = this.#open.get(speaker);
      if (empty && this.lines.at(-1) === empty) this.lines.pop();
      this.#open.delete(speaker);
    }
  }
}

/** An event as text, empty for what the log leaves out, and whether it is a failure. */
function describe(event: LogEvent): [text: string, bad?: boolean] {
  switch (event.type) {
    case "run.started": return [`${event.data.resumed ? "Resumed" : "Started"}: ${event.data.task}`];
    case "run.finished": return [`Ended: ${[statusName(event.data.status), event.data.reason].filter(Boolean).join(", ")}`, event.data.status === "failed"];
    case "node.finished": return event.data.error ? [event.data.error, true] : [""];
    case "plan": return [`Plan: ${event.data.plan.steps.map((step) => step.description).join("; ")}`];
    case "approval.required": return [`Waiting for you: ${event.data.request.kind}`];
    case "approval.resolved": return [`You answered: ${event.data.decision} ${event.data.reason ?? ""}`.trim()];
    case "tool.call": return [callLine(event.data), Boolean(event.data.exit_code)];
    case "tool.result": return [[event.data.tool, event.data.stdout, event.data.stderr].filter(Boolean).join("\n"), Boolean(event.data.returncode)];
    case "edit": return [event.data.files.map((file) => `${file.path} +${file.added} −${file.removed}`).join("\n")];
    case "environment": return [`Environment ${event.data.status} ${event.data.text ?? ""}`.trim(), event.data.status === "failed"];
    case "sandbox.started": return [`$ ${event.data.command.join(" ")}`];
    case "check": return [[counts(event.data), ...event.data.problems].join("\n"), !event.data.green];
    case "verdict": return [[event.data.verdict, ...event.data.reasons].join("\n"), event.data.verdict === "FAIL"];
    case "retry": return [`Trying again: ${event.data.reason}`, true];
    case "error": return [event.data.message, event.data.kind !== "warning"];
    case "note.read": return ["Read your note"];
    case "message": return [event.data.text];
    default: return [""];
  }
}

/** Name who wrote a line. The base's own tests run in a node of their own. */
function authorOf({ node }: LogEvent): string {
  return node === "tryout" ? "sandbox" : (node ?? "run");
}
