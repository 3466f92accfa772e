/** A proof without content. Logs of older versions lack some of its fields. */

import type { Proof } from "../api/events";

export const EMPTY_PROOF: Proof = {
  task: "", base: "", head: "", tree: "", grade: "tests", backend: "", image: "", command: [], exit_code: 0, green: false,
  scope: "all", scope_reason: "", baseline_reason: "", missing_environment: "", environments: [], cases: [], problems: [],
  failures: [], contradicted: [], unsteady: [], suspicious: [], gaps: [], strength: null, unguarded: [], untestable: "",
  verdict: "", reasons: [], missing: [],
};
