"use strict";
// OpenID Connect Session Management 1.0, section 3.2: an app's frame asks "client_id session_state", and is told whether
// the browser state, which is in a cookie of ours, is still the one that its session_state was made of.
const name = document.documentElement.dataset.cookie + "=";

function browserState() {
  const found = document.cookie.split("; ").find((cookie) => cookie.startsWith(name));
  return found === undefined ? "" : found.slice(name.length);
}

async function expected(clientId, origin, salt) {
  const known = new TextEncoder().encode([clientId, origin, browserState(), salt].join(" "));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", known));
  const text = btoa(String.fromCharCode(...digest)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return text + "." + salt;
}

window.addEventListener("message", async (event) => {
  if (event.source === null || event.origin === "null") return;
  const parts = typeof event.data === "string" ? event.data.split(" ") : [];
  const salt = parts.length === 2 ? parts[1].split(".")[1] : undefined;
  const answer = salt === undefined ? "error" : (await expected(parts[0], event.origin, salt)) === parts[1] ? "unchanged" : "changed";
  event.source.postMessage(answer, event.origin);
});
