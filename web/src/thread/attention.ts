/** The title of the tab, and notifications: they name a task that waits for the user or has ended. */

import { statusName } from "../text/format";
import { visible } from "../text/visible";

let before = "";

/** Show a thread's state in the title of the tab, and notify of a change to a state that is the user's turn. */
export function announce(title: string, status: string, live: boolean): void {
  const name = visible(title).split("\n", 1)[0]?.slice(0, 80) ?? "";
  const mark = status === "waiting" ? "(!) " : "";
  document.title = `${mark}${statusName(status)} · ${name} · AutoCodeAI`;
  const changed = before && before !== status && live;
  before = live ? status : "";
  if (!changed || status === "running" || !document.hidden) return;
  if ("Notification" in globalThis && Notification.permission === "granted") {
    new Notification(`AutoCodeAI: ${statusName(status)}`, { body: name, icon: "/static/icon.svg", tag: "autocode" });
  }
}

/** Return true if the user can still be asked to allow notifications. */
export function canAsk(): boolean {
  return "Notification" in globalThis && Notification.permission === "default";
}
