// The page shown while a part is away: asks every few seconds, and reloads once the answer is another.
async function ask() {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (response.status !== 503) return location.reload();
  } catch { /* not there either: ask again */ }
  setTimeout(ask, 4000);
}
setTimeout(ask, 4000);
