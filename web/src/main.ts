import "./styles/tokens.css";
import "./styles/base.css";
import { mount } from "svelte";
import App from "./App.svelte";

// A page that was open while the server was updated asks for files that are gone. While the server is away,
// a new page could not be loaded either.
addEventListener("vite:preloadError", () => {
  fetch("/health").then(() => location.reload(), () => undefined);
});

const target = document.getElementById("page");
if (target) mount(App, { target });
