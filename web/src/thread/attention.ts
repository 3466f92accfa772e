/** The title of the tab names a task that waits for the user, and a notification tells of its changes. */

import { notify } from "../state/notifications";
import { statusName } from "../text/format";
import { visible } from "../text/visible";

let before = "";

/** Show a thread's state in the title of the tab, and notify of a change to a state that is the user's turn. */
export function announce(title: string, status: string, live: boolean): void {
  const name = visible(title).split("\n", 1)[0]?.slice(0, 80) ?? "";
  const mark = status === "waiting" ? "(!) " : "";
  document.title = `${mark}${statusName(status)} · ${name} · AutoCodeAI`;
  if (before && before !== status && live && status !== "running") notify(status, title);
  before = live ? status : "";
}
