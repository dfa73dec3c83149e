/** Fills the service's address into the API documentation; only the browser knows it. */

const service = new URL("recognize.json", document.baseURI);
document.querySelector("#service").textContent = service.href;
