// The reader's choice of colours, set before the first paint; no choice means the system's.
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* storage is off: the system's colours */ }
