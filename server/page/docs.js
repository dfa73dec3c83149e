/** The address of the service in the page on its API; only the browser knows it. */

const service = new URL("recognize.json", document.baseURI);
document.querySelector("#service").textContent = service.href;
