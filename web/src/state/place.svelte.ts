/** The place in the page: home, or a thread, as the address says. */

class Place {
  thread = $state("");
  tab = $state("");

  constructor() {
    this.#read();
    addEventListener("hashchange", () => this.#read());
  }

  #read() {
    const [thread = "", tab = ""] = location.hash.slice(1).split("/");
    this.thread = decode(thread);
    this.tab = decode(tab);
  }
}

/** The address of a thread, empty for home. */
export function addressOf(thread: string, tab = ""): string {
  return `#${encodeURIComponent(thread)}${tab ? `/${tab}` : ""}`;
}

/** Go to a thread, or home. */
export function go(thread: string, tab = ""): void {
  location.hash = addressOf(thread, tab);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const place = new Place();
