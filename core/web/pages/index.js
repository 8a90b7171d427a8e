// The commands with this server's own address.
const here = new URL(".", document.baseURI).href.replace(/\/$/, "");
for (const pre of document.querySelectorAll("pre"))
  pre.textContent = pre.textContent.replaceAll("http://127.0.0.1:8000", here);
