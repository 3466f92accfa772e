/** A plan as a form: its steps in their order, each alone or together with the one before it. */

import type { Plan, Step } from "../api/events";

export interface DraftStep {
  key: number;
  agent: string;
  description: string;
  /** Paths, separated by commas. */
  files: string;
  reads: string;
  together: boolean;
  tool?: string;
  params?: Record<string, unknown>;
}

export interface DraftPlan {
  explanation: string;
  steps: DraftStep[];
}

/** Turn a plan into a form. */
export function draftOf(plan: Plan): DraftPlan {
  const steps = [...plan.steps].sort((one, other) => one.group - other.group);
  return { explanation: plan.explanation, steps: steps.map((step, key) => draftStep(step, key, steps[key - 1])) };
}

function draftStep(step: Step, key: number, before: Step | undefined): DraftStep {
  const files = step.files ?? (step.file ? [step.file] : []);
  return {
    key,
    agent: step.agent,
    description: step.description,
    files: files.join(", "),
    reads: (step.context_files ?? []).join(", "),
    together: before?.group === step.group,
    ...(step.tool_name ? { tool: step.tool_name, params: step.tool_params ?? {} } : {}),
  };
}

/** Add a step at the end. */
export function withNewStep(draft: DraftPlan): DraftPlan {
  const key = 1 + Math.max(-1, ...draft.steps.map((step) => step.key));
  return { ...draft, steps: [...draft.steps, { key, agent: "coder", description: "", files: "", reads: "", together: false }] };
}

/** Move a step up or down by one place. The first step is never together with another. */
export function moved(draft: DraftPlan, number: number, by: -1 | 1): DraftPlan {
  const steps = [...draft.steps];
  const [step] = steps.splice(number, 1);
  if (step) steps.splice(number + by, 0, step);
  return settled({ ...draft, steps });
}

export function withoutStep(draft: DraftPlan, number: number): DraftPlan {
  return settled({ ...draft, steps: draft.steps.toSpliced(number, 1) });
}

function settled(draft: DraftPlan): DraftPlan {
  return { ...draft, steps: draft.steps.map((step, number) => (number ? step : { ...step, together: false })) };
}

/** Say why a form cannot be sent, empty if it can. */
export function faultOf(draft: DraftPlan): string {
  if (!draft.steps.length) return "A plan needs a step.";
  const empty = draft.steps.findIndex((step) => !step.description.trim());
  return empty < 0 ? "" : `Step ${empty + 1} needs a description.`;
}

/** Turn a form into a plan as planners write it. */
export function planFrom(draft: DraftPlan): unknown {
  let group = -1;
  const steps = draft.steps.map((step) => {
    if (!step.together) group += 1;
    const files = paths(step.files);
    const reads = paths(step.reads);
    return {
      agent: step.agent,
      description: step.description.trim(),
      parallel_group: group,
      ...(files.length > 1 ? { files } : files.length ? { file: files[0] } : {}),
      ...(reads.length ? { context_files: reads } : {}),
      ...(step.tool ? { tool_name: step.tool, tool_params: step.params ?? {} } : {}),
    };
  });
  return { explanation: draft.explanation, steps };
}

function paths(text: string): string[] {
  return text.split(",").map((path) => path.trim()).filter(Boolean);
}
