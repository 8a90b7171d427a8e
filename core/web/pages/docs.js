// Swagger UI on this server's own description; no address but this server's is ever asked.
window.ui = SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: true,
  displayRequestDuration: true,
  showExtensions: true,
  defaultModelsExpandDepth: 0,
  oauth2RedirectUrl: new URL("docs/oauth2-redirect", document.baseURI).href,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
