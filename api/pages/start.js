window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  // By default, Swagger UI sends the URL of the document to another host.
  validatorUrl: null,
});
