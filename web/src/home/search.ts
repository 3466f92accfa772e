/** Searches that follow the user's typing. */

import { isAborted, reasonOf } from "../state/connection.svelte";

const PAUSE = 120; // milliseconds

/** Run a search after a pause in typing. Returns the function that cancels it, for an effect. */
export function searchSoon(search: (signal: AbortSignal) => Promise<void>, onfailure: (reason: string) => void): () => void {
  const stop = new AbortController();
  const timer = setTimeout(async () => {
    try {
      await search(stop.signal);
    } catch (error) {
      if (!isAborted(error)) onfailure(reasonOf(error));
    }
  }, PAUSE);
  return () => {
    clearTimeout(timer);
    stop.abort();
  };
}
