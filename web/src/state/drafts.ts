/** Texts and forms that are not sent yet. They survive a reload of the tab, and nothing else reads them. */

const PREFIX = "autocode.draft.";

export function readDraft<T>(name: string): T | null {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name) ?? "null") as T | null;
  } catch {
    return null; // storage may be switched off, or hold what another version wrote
  }
}

/** Store a draft. An empty one is removed. */
export function writeDraft(name: string, value: unknown): void {
  try {
    if (value === null || value === "") sessionStorage.removeItem(PREFIX + name);
    else sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Without storage a draft lasts as long as the page.
  }
}
