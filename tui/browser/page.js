// Keys go to the terminal without a click, as soon as it shows something.
new MutationObserver((_, watcher) => {
  const keys = document.querySelector("#terminal textarea");
  if (document.body.classList.contains("-first-byte") && keys) {
    keys.focus();
    watcher.disconnect();
  }
}).observe(document.body, { attributes: true, childList: true, subtree: true });
