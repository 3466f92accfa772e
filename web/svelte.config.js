export default {
  compilerOptions: {
    runes: true,
    // Elements are created one by one, so no text is ever parsed as markup and the policy can forbid it.
    fragments: "tree",
    // The name of a class depends on its styles alone, so that every machine builds the same files.
    cssHash: ({ hash, css }) => `s-${hash(css)}`,
  },
};
