// The server that the vendor's page describes, for Express: a cookie session, a user, a permission,
// a limit counted in Redis, a persona by name, and a token kept in memory for fifty minutes.
import cluster from "node:cluster";
import cookieSession from "cookie-session";
import express from "express";
import { createClient } from "redis";

const env = process.env;
const WORKERS = Number(env.BENCH_WORKERS ?? "1");
const LIMIT = 1_000_000; // high enough that nobody meets it: the counting is measured
const WINDOW = 3600;
const KEEP = 50 * 60 * 1000;

const users = new Map();
for (let n = 0; n < Number(env.BENCH_USERS ?? "1000"); n += 1) {
  users.set(`user-${n}`, { id: `user-${n}`, canAccessPersonas: true });
}
const personas = new Map();
for (let n = 0; n < Number(env.BENCH_PERSONAS ?? "1000"); n += 1) {
  const id = (part) => `00000000-0000-4000-8000-${String(3 * n + part).padStart(12, "0")}`;
  personas.set(`persona-${n}`, {
    name: `Persona ${n}`,
    avatarId: id(1),
    voiceId: id(2),
    llmId: id(3),
    systemPrompt: "You are a helpful customer service representative.",
  });
}

const kept = new Map();

async function tokenFor(personaConfig, userId) {
  const key = Buffer.from(JSON.stringify({ personaConfig, userId })).toString("base64");
  const found = kept.get(key);
  if (found) {
    if (found.expiresAt > Date.now()) return found;
    kept.delete(key);
  }
  const answer = await fetch(`${env.BENCH_UPSTREAM}/v1/auth/session-token`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer benchmark-key" },
    body: JSON.stringify({ personaConfig }),
  });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  const { sessionToken } = await answer.json();
  const entry = { sessionToken, expiresAt: Date.now() + KEEP };
  kept.set(key, entry);
  return entry;
}

async function serve() {
  const redis = await createClient({ url: env.BENCH_LIMITS }).connect();
  const app = express();
  app.use(cookieSession({ name: "session", keys: ["the same secret for every contender"] }));
  app.use(express.json({ limit: "16kb" }));

  app.post("/login/:userId", (req, res) => {
    req.session.userId = req.params.userId;
    res.send("Welcome.");
  });

  app.post("/api/session-token", async (req, res) => {
    const user = users.get(req.session.userId);
    if (!user) return res.status(401).json({ error: "Unauthorized" });
    if (!user.canAccessPersonas) return res.status(403).json({ error: "Insufficient permissions" });
    const counter = `session_tokens:${user.id}`;
    const count = await redis.incr(counter);
    if (count === 1) await redis.expire(counter, WINDOW);
    if (count > LIMIT) return res.status(429).json({ error: "Rate limit exceeded" });
    const persona = personas.get(req.body?.personaType);
    if (!persona) return res.status(404).json({ error: "Unknown persona" });
    const { sessionToken, expiresAt } = await tokenFor(persona, user.id);
    return res.json({ sessionToken, expiresAt });
  });

  app.listen(Number(env.BENCH_PORT), "127.0.0.1", 1024);
}

if (WORKERS > 1 && cluster.isPrimary) {
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
  process.once("SIGTERM", () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill();
    process.exit();
  });
} else {
  await serve();
}
