/** Notifications of the browser, if the user has allowed them. They come only while the tab is hidden. */

import { statusName } from "../text/format";
import { visible } from "../text/visible";

/** Notify of a thread that has come to a state. */
export function notify(status: string, title: string): void {
  if (!document.hidden || !("Notification" in globalThis) || Notification.permission !== "granted") return;
  const body = visible(title).slice(0, 120);
  new Notification(`AutoCodeAI: ${statusName(status)}`, { body, icon: "/static/icon.svg", tag: body });
}

/** Return true if the user can still be asked to allow notifications. */
export function canAsk(): boolean {
  return "Notification" in globalThis && Notification.permission === "default";
}
