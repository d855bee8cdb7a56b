// The page shown while a part is away: checks the site every few seconds, and reloads when the status changes.
async function checkSite() {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (response.status !== 503) return location.reload();
  } catch { /* still unreachable: check again */ }
  setTimeout(checkSite, 4000);
}
setTimeout(checkSite, 4000);
