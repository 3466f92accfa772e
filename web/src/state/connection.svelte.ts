/** The state of the connection to the server. */

import { AgentError, setKey } from "../../client.js";

class Connection {
  online = $state(true);
  keyNeeded = $state(false);
  /** Counts changes of the key, so that what was refused is asked for again. */
  keys = $state(0);

  /** Await a request, and note what its failure tells about the server. */
  async watch<T>(request: Promise<T>): Promise<T> {
    try {
      const answer = await request;
      this.online = true;
      return answer;
    } catch (error) {
      if (isAborted(error)) throw error;
      if (error instanceof AgentError) {
        this.online = true;
        if (error.status === 401) this.keyNeeded = true;
      } else {
        this.online = false;
      }
      throw error;
    }
  }

  useKey(key: string): void {
    setKey(key);
    this.keyNeeded = false;
    this.keys += 1;
  }
}

export function isAborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Say in words why a request failed. */
export function reasonOf(error: unknown): string {
  if (error instanceof AgentError) return error.message;
  return "The server does not answer. Nothing was sent. Try again when it is back.";
}

export const connection = new Connection();
