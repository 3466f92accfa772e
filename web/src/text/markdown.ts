/** Markdown as tokens, within a time that no text can stretch. */

import { Lexer, type Token } from "marked";

/** The longest text and the longest paragraph, in characters. marked takes quadratic time for some. */
const LONGEST = 100_000;
const LONGEST_PARAGRAPH = 4_000;
const MILLISECONDS = 200;

/** Return the tokens of a text, null if it is to be shown as it is. Paragraphs beyond a limit stay plain. */
export function tokensOf(text: string): Token[] | null {
  if (text.length > LONGEST) return null;
  const end = performance.now() + MILLISECONDS;
  const lexer = new Lexer({ gfm: true });
  try {
    lexer.blockTokens(text.replace(/\r\n|\r/g, "\n"), lexer.tokens);
    for (const { src, tokens } of lexer.inlineQueue) {
      if (src.length <= LONGEST_PARAGRAPH && performance.now() < end) lexer.inlineTokens(src, tokens);
      else tokens.push({ type: "text", raw: src, text: src });
    }
  } catch {
    return null; // nested too deeply
  }
  return lexer.tokens;
}
