// Shows within half a second that the session ended elsewhere. The server has refused it since; this is for the eye.
const status = document.getElementById("status");

function goDark() {
  clearInterval(watch);
  document.getElementById("signed-in").remove(); // what belongs to the person leaves the screen
  document.getElementById("signed-out").hidden = false;
  document.body.classList.add("dark");
  status.dataset.state = "out";
  status.textContent = "Your session ended";
}

async function look() {
  try {
    const answer = await fetch("/me", { cache: "no-store" });
    if (answer.ok && !(await answer.json()).signed_in) goDark();
  } catch {
    // The app itself cannot be reached: that says nothing about the session.
  }
}

const watch = setInterval(look, 500);
window.addEventListener("pageshow", look); // a page that comes back from the browser's memory is an old one
