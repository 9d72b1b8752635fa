// The smallest banner that there can be. Calls made before the tag is there are kept in the list.
const vitrinaCalls = (...call) => (window.vitrina = window.vitrina || []).push(call);

document.querySelector("#allow").onclick = () => vitrinaCalls("consent", { personalisation: true });
document.querySelector("#refuse").onclick = () => vitrinaCalls("consent", { personalisation: false });

// Somebody who is signed in: your server writes the hash into the page.
// vitrinaCalls("identify", "u1", "hex HMAC-SHA-256 of u1 with the identity secret");

// What happened in every placement, once it is decided; null where the page's own content stays.
addEventListener("vitrina", (event) => console.debug(event.target.dataset.vitrina, event.detail));
