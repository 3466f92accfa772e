/** The files and hunks of a change that are to be applied. */

import type { Changes, Choice } from "../api/server";

/** A hunk, or a file that is applied as a whole. */
interface Unit {
  path: string;
  hunk: string;
}

export class Choosing {
  readonly #changes: Changes;
  readonly #units: Unit[][];
  #left = $state.raw(new Set<Unit>());

  /** Everything is chosen at first. */
  constructor(changes: Changes) {
    this.#changes = changes;
    this.#units = changes.files.map(({ path, hunks }) => (hunks.length ? hunks.map(({ id }) => ({ path, hunk: id })) : [{ path, hunk: "" }]));
  }

  get total(): number {
    return this.#units.flat().length;
  }

  get count(): number {
    return this.total - this.#left.size;
  }

  /** True for a file that is chosen as a whole, null for one of which a part is. */
  file(number: number): boolean | null {
    const units = this.#units[number] ?? [];
    const left = units.filter((unit) => this.#left.has(unit)).length;
    return left === 0 ? true : left === units.length ? false : null;
  }

  chooseFile(number: number, chosen: boolean): void {
    const other = this.#changes.files[number]?.other;
    // Both halves of a rename go together.
    const rest = other ? this.#changes.files.findIndex((file) => file.path === other) : -1;
    this.#choose([...(this.#units[number] ?? []), ...(this.#units[rest] ?? [])], chosen);
  }

  /** True if a hunk is chosen. Undefined if its file has no hunk to choose beside it. `hunk` counts those with lines. */
  hunk(number: number, hunk: number): boolean | undefined {
    const unit = this.#hunk(number, hunk);
    return unit && (this.#units[number]?.length ?? 0) > 1 ? !this.#left.has(unit) : undefined;
  }

  chooseHunk(number: number, hunk: number, chosen: boolean): void {
    const unit = this.#hunk(number, hunk);
    if (unit) this.#choose([unit], chosen);
  }

  chooseAll(chosen: boolean): void {
    this.#choose(this.#units.flat(), chosen);
  }

  /** What the server is asked to apply. */
  get choice(): Choice {
    const files: string[] = [];
    const hunks: Record<string, string[]> = {};
    for (const { path, hunk } of this.#units.flat().filter((unit) => !this.#left.has(unit))) {
      if (hunk) (hunks[path] ??= []).push(hunk);
      else files.push(path);
    }
    return { changes: this.#changes.id, files, hunks };
  }

  #hunk(number: number, hunk: number): Unit | undefined {
    // A change of the mode is a hunk without lines, and comes first.
    const modes = this.#changes.files[number]?.hunks.findIndex((one) => one.header.startsWith("@@ ")) ?? 0;
    return this.#units[number]?.[Math.max(0, modes) + hunk];
  }

  #choose(units: Unit[], chosen: boolean): void {
    const left = new Set(this.#left);
    for (const unit of units) {
      if (chosen) left.delete(unit);
      else left.add(unit);
    }
    this.#left = left;
  }
}
