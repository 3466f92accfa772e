/** The files of a change as a tree. Folders with a single child are joined with it. */

import type { FileChange } from "./patch";

export interface TreeNode {
  name: string;
  depth: number;
  file: FileChange | null;
}

interface Branch {
  folders: Map<string, Branch>;
  files: [string, FileChange][];
}

/** List the rows of the tree from top to bottom, folders first. */
export function treeOf(files: FileChange[]): TreeNode[] {
  const root: Branch = { folders: new Map(), files: [] };
  for (const file of files) {
    const parts = file.path.split("/");
    const name = parts.pop() ?? file.path;
    let at = root;
    for (const part of parts) {
      const next = at.folders.get(part) ?? { folders: new Map<string, Branch>(), files: [] };
      at.folders.set(part, next);
      at = next;
    }
    at.files.push([name, file]);
  }
  return rowsOf(root, 0);
}

function rowsOf(branch: Branch, depth: number): TreeNode[] {
  const rows: TreeNode[] = [];
  for (const [first, folder] of branch.folders) {
    let name = first;
    let at = folder;
    for (;;) {
      const only = at.folders.size === 1 && !at.files.length ? [...at.folders][0] : undefined;
      if (!only) break;
      name += `/${only[0]}`;
      at = only[1];
    }
    rows.push({ name, depth, file: null }, ...rowsOf(at, depth + 1));
  }
  return [...rows, ...branch.files.map(([name, file]) => ({ name, depth, file }))];
}
