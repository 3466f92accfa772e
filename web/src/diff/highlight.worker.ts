/** Colours code in a thread of its own, so that no text can stop the page. */

import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import csharp from "highlight.js/lib/languages/csharp";
import css from "highlight.js/lib/languages/css";
import dockerfile from "highlight.js/lib/languages/dockerfile";
import go from "highlight.js/lib/languages/go";
import ini from "highlight.js/lib/languages/ini";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import kotlin from "highlight.js/lib/languages/kotlin";
import makefile from "highlight.js/lib/languages/makefile";
import markdown from "highlight.js/lib/languages/markdown";
import php from "highlight.js/lib/languages/php";
import python from "highlight.js/lib/languages/python";
import ruby from "highlight.js/lib/languages/ruby";
import rust from "highlight.js/lib/languages/rust";
import scss from "highlight.js/lib/languages/scss";
import sql from "highlight.js/lib/languages/sql";
import swift from "highlight.js/lib/languages/swift";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { createLowlight } from "lowlight";
import type { Piece } from "./marks";

const lowlight = createLowlight({
  bash, c, cpp, csharp, css, dockerfile, go, ini, java, javascript, json, kotlin, makefile, markdown, php, python,
  ruby, rust, scss, sql, swift, typescript, xml, yaml,
});

type Nodes = ReturnType<typeof lowlight.highlight>["children"];

export interface HighlightJob {
  id: number;
  language: string;
  text: string;
}

/** Turn a tree into the pieces of each line. */
function linesOf(nodes: Nodes): Piece[][] {
  const lines: Piece[][] = [[]];
  const walk = (children: Nodes, className: string) => {
    for (const node of children) {
      if (node.type === "element") {
        const own = node.properties["className"];
        walk(node.children as Nodes, Array.isArray(own) ? own.join(" ") : className);
      } else if (node.type === "text") {
        node.value.split("\n").forEach((text, number) => {
          if (number) lines.push([]);
          if (text) lines.at(-1)?.push({ text, className });
        });
      }
    }
  };
  walk(nodes, "");
  return lines;
}

addEventListener("message", ({ data }: MessageEvent<HighlightJob>) => {
  postMessage({ id: data.id, lines: linesOf(lowlight.highlight(data.language, data.text).children) });
});
