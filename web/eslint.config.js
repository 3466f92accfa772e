import svelte from "eslint-plugin-svelte";
import globals from "globals";
import ts from "typescript-eslint";
import svelteConfig from "./svelte.config.js";

const MARKUP = "Text must stay text: create elements, or use {text}.";

export default ts.config(
  ...ts.configs.strict,
  ...ts.configs.stylistic,
  ...svelte.configs.recommended,
  { languageOptions: { globals: globals.browser } },
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
  },
  {
    rules: {
      "max-lines": ["error", 300],
      "no-eval": "error",
      "svelte/no-at-html-tags": "error",
      // Collections are replaced as a whole, so that one assignment tells of all their changes.
      "svelte/prefer-svelte-reactivity": "off",
      "svelte/require-each-key": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({ property, message: MARKUP })),
        { object: "document", property: "write", message: MARKUP },
      ],
    },
  },
  { ignores: ["node_modules/", "client.js"] },
);
