/** Texts of models, repositories and users, made safe to read. */

const HIDDEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Show invisible characters and direction marks, which could make a text look like another one. */
export function visible(text: unknown): string {
  return String(text).replace(HIDDEN, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    return `<U+${code}>`;
  });
}
