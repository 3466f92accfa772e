/** The parameters of a tool as fields of a form. */

export interface ParamField {
  name: string;
  kind: "text" | "number" | "flag" | "list" | "json";
  text: string;
}

/** Make a field for each parameter. Only what is no plain value is shown as JSON. */
export function fieldsOf(params: Record<string, unknown>): ParamField[] {
  return Object.entries(params).map(([name, value]) => {
    if (typeof value === "string") return { name, kind: "text", text: value };
    if (typeof value === "number") return { name, kind: "number", text: String(value) };
    if (typeof value === "boolean") return { name, kind: "flag", text: String(value) };
    const lines = Array.isArray(value) && value.every((item) => typeof item === "string" && !item.includes("\n"));
    if (lines) return { name, kind: "list", text: (value as string[]).join("\n") };
    return { name, kind: "json", text: JSON.stringify(value, null, 2) };
  });
}

/** Read the fields. Throws an error that says which one is wrong. */
export function paramsFrom(fields: ParamField[]): Record<string, unknown> {
  return Object.fromEntries(fields.map((field) => [field.name, valueOf(field)]));
}

function valueOf({ name, kind, text }: ParamField): unknown {
  if (kind === "text") return text;
  if (kind === "flag") return text === "true";
  if (kind === "list") return text.split("\n").map((line) => line.trim()).filter(Boolean);
  if (kind === "number") {
    if (text.trim() === "" || !Number.isFinite(Number(text))) throw new Error(`${name} must be a number. Nothing was sent.`);
    return Number(text);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new Error(`${name} is not JSON: ${(error as Error).message}. Nothing was sent.`, { cause: error });
  }
}
