// A log-in link carries its word behind the #, which no server and no log sees.
const form = document.querySelector("form");
const once = new URLSearchParams(location.hash.slice(1)).get("once");
if (once) {
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.once.value = once;
  form.elements.key.required = false;
  form.submit();
} else if (new URLSearchParams(location.search).has("next")) {
  // A link from elsewhere comes without our cookie, though the browser may be logged in.
  fetch("/login/check").then((answer) => answer.ok && location.replace(form.elements.next.value));
}
