// Deployments, routes, caches, keys and limits: the parts of the overview as tables and tiles.

import { Table, tiles } from "./operator_table.js";
import { bytes, count, moment, money, percent, short } from "./operator_text.js";

const place = (id) => document.getElementById(id);

const BREAKERS = { closed: ["closed", "good"], half_open: ["half open", "warn"], open: ["open", "bad"] };

/** What stands behind the gateway. */
export class Deployments {
  constructor() {
    this.table = new Table(place("deployments-table"), "Deployments", [
      { name: "Deployment" },
      { name: "Health" },
      { name: "Breaker" },
      { name: "Requests", number: true },
      { name: "Sequences", number: true },
      { name: "Queued", number: true },
      { name: "KV cache" },
      { name: "Engine" },
    ]);
  }

  show({ deployments }) {
    this.table.show(deployments.map(deploymentRow));
  }
}

function deploymentRow({ name, address, version, ready, breaker, obstacle, running, max_concurrent: most, engine }) {
  const health =
    ready === null
      ? { badge: "silent", kind: "warn" }
      : ready
        ? { badge: "ready", kind: "good" }
        : { badge: "not ready", kind: "bad" };
  const [state, kind] = BREAKERS[breaker];
  const sequences =
    engine && (engine.places === null ? count(engine.running) : `${count(engine.running)} of ${count(engine.places)}`);
  return [
    [name, { muted: address }],
    health,
    obstacle ? [{ badge: state, kind }, { muted: obstacle }] : { badge: state, kind },
    most === null ? count(running) : `${count(running)} of ${count(most)}`,
    sequences ?? { muted: "not told" },
    engine ? count(engine.waiting) : "",
    engine && engine.kv_used !== null ? { meter: engine.kv_used, text: percent(engine.kv_used), isLoad: true } : "",
    [engine?.name || "", { muted: version ? `version ${version}` : "" }],
  ];
}

/** The models' routes as the file has them, and what they did. */
export class Routes {
  constructor() {
    this.table = new Table(place("routes-table"), "Routes", [
      { name: "Model" },
      { name: "Policy" },
      { name: "Deployment" },
      { name: "Weight" },
      { name: "Requests", number: true },
      { name: "Share", number: true },
      { name: "Errors", number: true },
    ]);
  }

  show({ models }) {
    this.table.show(models.map(routeRow));
  }
}

/** A line for each deployment. */
function routeRow({ model, aliases, operation, policy, sticky, rules, shadow_fraction: fraction, deployments }) {
  const total = deployments.reduce((sum, { requests }) => sum + requests, 0);
  const about = [...aliases, ...(operation === "embeddings" ? ["embeddings"] : [])];
  const how = [policy.replace("_", " ")];
  if (sticky !== "none") how.push({ muted: `sticky by ${sticky}` });
  if (rules.length) how.push({ muted: `rules: ${rules.join(", ")}` });
  const counted = (figure) => deployments.map((each) => (each.role === "shadow" ? "" : figure(each)));
  return [
    about.length ? [model, { muted: about.join(", ") }] : [model],
    how,
    deployments.map(({ deployment }) => deployment),
    deployments.map(({ role, weight, share }) => weightOf(role, weight, share, fraction)),
    counted(({ requests }) => count(requests)),
    counted(({ requests }) => percent(total ? requests / total : null)),
    counted(({ errors }) => count(errors)),
  ];
}

function weightOf(role, weight, share, fraction) {
  if (role === "weighted") return { meter: share, text: short(weight) };
  return { muted: role === "shadow" ? `shadow, ${percent(fraction)}` : role };
}

/** Exact and semantic. */
export function showCaches({ cache }) {
  place("cache-off").hidden = cache !== null;
  place("cache-tiles").hidden = cache === null;
  place("semantic").hidden = !cache?.semantic_cache;
  if (cache === null) return;
  const hits = cache.exact + cache.shared + cache.semantic;
  tiles(place("cache-tiles"), [
    ["Answers", count(cache.answers), `${bytes(cache.bytes)} of ${bytes(cache.max_bytes)}`],
    [
      "Hit rate",
      percent(hits + cache.misses ? hits / (hits + cache.misses) : null),
      `${count(hits)} of ${count(hits + cache.misses)}`,
    ],
    ["Exact", count(cache.exact), "the same request"],
    ["Shared", count(cache.shared), "at the same time"],
    ["Semantic", count(cache.semantic), "in other words"],
    ["Misses", count(cache.misses), "asked of an engine"],
  ]);
  const semantic = cache.semantic_cache;
  if (!semantic) return;
  tiles(place("semantic-tiles"), [
    ["Questions", count(semantic.vectors), "kept as vectors"],
    ["Hits", count(semantic.hits), `${count(semantic.failures)} failures`],
    ["Held back", count(semantic.refused), "near, but not the same"],
    ["Verified", count(semantic.verified), "asked of the engine too"],
    ["False hits", semantic.false_rate ? percent(semantic.false_rate.value) : "–", falseNote(semantic)],
  ]);
}

function falseNote({ false_rate: rate, false: number, verified }) {
  return rate === null
    ? "none was verified"
    : `${count(number)} of ${count(verified)}, ${percent(rate.low)} to ${percent(rate.high)}`;
}

const STATES = { active: "good", expired: "warn", revoked: "bad" };
const KINDS = {
  requests: "requests a minute",
  tokens: "tokens a minute",
  concurrent: "at once",
  budget: "budget of today",
};

const NOTHING_TAKEN = "Nothing of any limit is taken now";

/** Keys without their secrets, and the limits of which something is taken. */
export class Keys {
  constructor() {
    this.keys = null;
    this.filter = place("keys-filter");
    this.table = new Table(
      place("keys-table"),
      "Keys",
      [
        { name: "Key" },
        { name: "Tenant" },
        { name: "State" },
        { name: "Scopes" },
        { name: "Models" },
        { name: "Limits" },
        { name: "Expires" },
        { name: "Last used" },
      ],
      "No key",
    );
    this.limits = new Table(
      place("limits-table"),
      "Limits in use",
      [{ name: "Whose" }, { name: "Limit" }, { name: "Taken" }],
      NOTHING_TAKEN,
    );
    this.filter.addEventListener("input", () => this.showKeys());
  }

  show({ keys, limits }) {
    this.keys = keys;
    this.showKeys();
    this.limits.nothing.textContent = limits === null ? "The limits cannot be told now" : NOTHING_TAKEN;
    this.limits.show((limits ?? []).map(limitRow));
  }

  showKeys() {
    const { keys } = this;
    place("keys-away").hidden = keys !== null;
    place("keys-table").hidden = place("keys-note").hidden = place("keys-search").hidden = keys === null;
    if (keys === null) return;
    const wanted = this.filter.value.trim().toLowerCase();
    const found = keys.keys.filter(({ name, tenant, prefix }) =>
      [name, tenant, prefix].some((text) => text.toLowerCase().includes(wanted)),
    );
    this.table.show(found.map(keyRow));
    const cut =
      keys.keys.length < keys.total ? `The newest ${count(keys.keys.length)} of ${count(keys.total)} keys. ` : "";
    place("keys-note").textContent = `${cut}Nobody has the secrets: the gateway keeps none.`;
  }
}

function keyRow(key) {
  const expires =
    key.state === "revoked"
      ? `revoked ${moment(key.revoked_at)}`
      : key.expires_at === null
        ? { muted: "never" }
        : moment(key.expires_at);
  return [
    key.name ? [key.name, { code: key.prefix }] : { code: key.prefix },
    key.tenant,
    { badge: key.state, kind: STATES[key.state] },
    key.endpoints === null ? "all but admin" : { wrapped: key.endpoints.join(", ") },
    key.models === null ? "all" : { wrapped: key.models.join(", ") },
    key.limits === null ? { muted: "the file's" } : limitLines(key.limits),
    expires,
    key.last_used_at === null ? { muted: "not in the ledger" } : moment(key.last_used_at),
  ];
}

function limitLines(limits) {
  const lines = [
    [limits.requests_per_minute, KINDS.requests],
    [limits.tokens_per_minute, KINDS.tokens],
    [limits.concurrent_requests, KINDS.concurrent],
    [limits.daily_budget, "a day"],
  ].filter(([limit]) => limit !== null);
  return lines.length ? lines.map(([limit, unit]) => `${count(limit)} ${unit}`) : [{ muted: "none" }];
}

function limitRow({ tenant, key, kind, limit, used }) {
  const write = kind === "budget" ? money : count;
  const whose = key === null ? [tenant, { muted: "tenant" }] : [tenant, { code: key }];
  return [whose, KINDS[kind], { meter: used / limit, text: `${write(used)} of ${write(limit)}`, isLoad: true }];
}
