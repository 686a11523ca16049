"""`curate explore`: a run in the browser, on this machine only. `explorer` answers, `server` serves, page.html and page.js show."""
