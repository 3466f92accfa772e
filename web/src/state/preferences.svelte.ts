/** Choices that the browser remembers: the theme, the form of diffs, and the repository of the last task. */

export type Theme = "system" | "light" | "dark";

const KEY = "autocode.preferences";

interface Stored {
  theme: Theme;
  split: boolean;
  /** Null until the user chooses. Then the last one of the history is meant. */
  repo: string | null;
  approvePlan: boolean;
  /** The model of new tasks, empty for those of the settings. */
  model: string;
  visited: boolean;
}

class Preferences {
  theme = $state<Theme>("system");
  split = $state(false);
  repo = $state<string | null>(null);
  approvePlan = $state(false);
  model = $state("");
  visited = $state(false);

  constructor() {
    try {
      Object.assign(this, JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Stored>);
    } catch {
      // The defaults do.
    }
    $effect.root(() => {
      $effect(() => this.#store());
    });
  }

  #store() {
    const { theme, split, repo, approvePlan, model, visited } = this;
    document.documentElement.dataset["theme"] = theme;
    try {
      localStorage.setItem(KEY, JSON.stringify({ theme, split, repo, approvePlan, model, visited } satisfies Stored));
    } catch {
      // Without storage the choices last as long as the page.
    }
  }
}

export const preferences = new Preferences();
