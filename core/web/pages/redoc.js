// Redoc on this server's own description, without its fonts from elsewhere.
const fonts = "system-ui, sans-serif";
Redoc.init(
  new URL("openapi.json", document.baseURI).href,
  {
    hideDownloadButton: false,
    theme: {
      typography: {
        fontFamily: fonts,
        headings: { fontFamily: fonts },
        code: { fontFamily: "ui-monospace, monospace" },
      },
    },
  },
  document.getElementById("redoc"),
);
