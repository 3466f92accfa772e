/** Elements that are just enough of a document for the page's scripts. */

class Text {
  constructor(text) {
    this.textContent = String(text);
  }
  get length() {
    return this.textContent.length;
  }
  appendData(text) {
    this.textContent += text;
  }
}

export class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], hidden: false, disabled: false, value: "", isConnected: true });
  }
  append(...children) {
    for (const child of children) this.children.push(typeof child === "object" ? child : String(child));
    for (const child of children) if (child instanceof Element) child.parent = this;
  }
  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }
  remove() {
    this.parent.children = this.parent.children.filter((child) => child !== this);
  }
  appendChild(child) {
    this.append(child);
    return child;
  }
  get lastChild() {
    return this.children.at(-1);
  }
  get firstChild() {
    return this.children[0];
  }
  get textContent() {
    return this.children.map((child) => child.textContent ?? child).join("");
  }
  set textContent(text) {
    this.children = [String(text)];
  }
  all(match) {
    const inner = this.children.filter((child) => child instanceof Element);
    return [...inner.filter(match), ...inner.flatMap((child) => child.all(match))];
  }
  querySelectorAll(tag) {
    return this.all((child) => child.tag === tag);
  }
  focus() {}
}

globalThis.document = { createElement: (tag) => new Element(tag), createTextNode: (text) => new Text(text) };
