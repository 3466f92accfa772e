/** Tasks that suit a repository, made from the names of its files. */

const SOURCE = /\.(py|ts|tsx|js|jsx|go|rs|java|rb|c|cc|cpp|cs|php|kt|swift)$/;
const TEST = /(^|\/)(tests?|spec|__tests__)\/|(^|\/)test_|[._-](test|spec)\./;
const PLAIN = [
  "Write a command-line tool that counts words in a file, with tests",
  "Write a function that parses durations such as 1h30m, with tests",
  "Write a small HTTP server that returns the time as JSON, with tests",
];

/** Suggest three tasks for a repository with these files, or for a new one. */
export function examplesFor(files: string[] | null): string[] {
  const sources = (files ?? []).filter((path) => SOURCE.test(path) && !TEST.test(path) && !/(^|\/)(__init__|setup|conftest)\./.test(path));
  const [first, second = first] = sources;
  if (!first || !second) return files?.length ? ["Explain what this repository is for", "Add a README that says how to start", "Find what is untested here"] : PLAIN;
  const names = (files ?? []).filter((path) => TEST.test(path)).join("\n");
  const stem = (path: string) => (path.split("/").at(-1) ?? path).replace(/\.\w+$/, "");
  const untested = sources.find((path) => path !== second && !names.includes(stem(path))) ?? first;
  return [`Explain how ${first} works`, `Add tests for what ${untested} does at its limits`, `Find a bug in ${second} and mend it`];
}
