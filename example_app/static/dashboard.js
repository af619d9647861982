// Keeps the dashboard's numbers fresh, and forgets stored tokens on request.

const PERIOD_MS = 3000;
const metrics = document.getElementById("metrics");
const live = document.getElementById("live");
const forget = document.getElementById("forget");

function camel(name) {
  return name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
}

function show(found) {
  for (const element of metrics.querySelectorAll("[data-metric]")) {
    const value = found[camel(element.dataset.metric)];
    element.textContent = element.dataset.unit ? `${value.toFixed(1)} ${element.dataset.unit}` : value;
  }
  const rows = Object.entries(found.tokensFailedByCode).map(([code, times]) => {
    const row = document.createElement("tr");
    const name = document.createElement("code");
    name.textContent = code;
    row.insertCell().append(name);
    row.insertCell().textContent = times;
    return row;
  });
  if (rows.length) {
    document.querySelector("#failures tbody").replaceChildren(...rows);
  }
}

async function refresh() {
  try {
    const response = await fetch(metrics.dataset.url, { headers: { Accept: "application/json" } });
    if (!response.ok) {
      throw new Error(`status ${response.status}`);
    }
    show(await response.json());
    live.textContent = "Live";
    live.dataset.state = "live";
  } catch {
    live.textContent = "Not live: the server does not answer";
    live.dataset.state = "stale";
  }
}

forget.addEventListener("click", async () => {
  const said = document.getElementById("forgotten");
  try {
    const response = await fetch(forget.dataset.url, { method: "POST" });
    said.textContent = response.ok ? "Done. The next request mints a new one." : "That was refused.";
  } catch {
    said.textContent = "The server does not answer.";
  }
});

setInterval(() => document.hidden || refresh(), PERIOD_MS);
refresh();
