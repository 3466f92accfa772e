/** Elements without markup. Text of models, repositories and clients stays text. */

const HIDDEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Create an element. Children that are no nodes become text. */
export function h(tag, props = {}, ...children) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Show invisible characters and direction marks, which could make a text look like another one. */
export function visible(text) {
  return String(text).replace(HIDDEN, (char) => `<U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`);
}

/** Create a coloured label. A status of several words gets no colour. */
export function pill(status) {
  return h("span", { className: `pill ${/^\w+$/.test(status) ? status : ""}` }, status);
}

/** Show a unified diff in colours. */
export function diffView(text) {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  let header = false;
  const shown = lines.map((line) => {
    if (line.startsWith("diff --git ")) header = true;
    else if (line.startsWith("@@")) header = false;
    const kinds = { "+": "add", "-": "del", "@": "hunk" };
    const kind = header ? (line.startsWith("diff ") ? "file" : "") : (kinds[line[0]] ?? "");
    return h("span", { className: kind }, line || " ");
  });
  return h("div", { className: "diff" }, h("pre", {}, ...shown));
}
