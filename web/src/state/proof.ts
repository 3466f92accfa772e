/** Proofs and the outcomes of their tests. */

import type { CaseProof, Proof } from "../api/events";

/** A proof without content. Logs of older versions lack some of its fields. */
export const EMPTY_PROOF: Proof = {
  task: "", base: "", head: "", tree: "", grade: "tests", backend: "", image: "", command: [], exit_code: 0, green: false,
  scope: "all", scope_reason: "", baseline_reason: "", missing_environment: "", environments: [], cases: [], problems: [],
  failures: [], contradicted: [], unsteady: [], suspicious: [], gaps: [], strength: null, unguarded: [], untestable: "",
  verdict: "", reasons: [], missing: [],
};

/** Return true for the outcome of a test that did not pass. */
export function isBad(outcome: string): boolean {
  return outcome === "failed" || outcome === "error";
}

/** Return true for a test that fails without the change and passes with it. */
export function provesChange(test: CaseProof): boolean {
  return test.head === "passed" && Boolean(test.sharpened || (test.new && isBad(test.base))) && !test.idle;
}
