import { readFileSync } from "node:fs";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

/** Copies the client module as it is, because web pages of others import it and people read it. */
function clientModule(): Plugin {
  const source = new URL("./client.js", import.meta.url);
  return {
    name: "client-module",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: "client.js", source: readFileSync(source, "utf-8") });
    },
  };
}

export default defineConfig({
  base: "/static/",
  plugins: [svelte(), clientModule()],
  build: {
    outDir: "../server/static",
    emptyOutDir: true,
    target: "es2022",
    // The polyfill and inlined assets would need exceptions in the Content Security Policy.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  worker: { format: "es" },
  server: { proxy: { "/api": "http://127.0.0.1:8000", "/threads": "http://127.0.0.1:8000", "/health": "http://127.0.0.1:8000" } },
});
