"use strict";
// Takes the page again and again and swaps its content, so that scrolling and selecting stay possible.
async function refresh() {
  try {
    if (!document.hidden && getSelection().isCollapsed) {
      const answer = await fetch(location.href, { cache: "no-store" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.querySelector("main").replaceWith(fresh.querySelector("main"));
    }
  } catch (error) {
    document.title = "Octospark emulator (stopped)";
  }
  setTimeout(refresh, 1000);
}
setTimeout(refresh, 1000);
