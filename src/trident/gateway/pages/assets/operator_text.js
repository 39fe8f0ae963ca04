// Numbers, times and shares as the operator's page writes them. Null is a dash everywhere.

const DASH = "–";
const DAY_S = 86_400;
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

const written = (write) => (value) =>
  value === null || value === undefined || !Number.isFinite(value) ? DASH : write(value).replace(/^-/, "−");

/** 12,345; 1.2M from a million on */
export const count = written((value) => (Math.abs(value) < 1e6 ? WHOLE : COMPACT).format(value));

/** Three digits. */
export const short = written((value) => SHORT.format(value));

/** @param {number | null} value of milliseconds */
export const duration = written((value) => {
  const size = Math.abs(value);
  if (size < 1000) return `${size < 10 ? SHORT.format(value) : WHOLE.format(value)} ms`;
  return `${SHORT.format(value / 1000)} s`;
});

/** @param {number | null} value 0 to 1 */
export const percent = written(
  (value) =>
    `${new Intl.NumberFormat("en", { maximumFractionDigits: Math.abs(value) < 0.1 ? 2 : 1 }).format(100 * value)} %`,
);

/** In the currency of the gateway's prices. */
export const money = written((value) =>
  value !== 0 && Math.abs(value) < 0.01 ? value.toPrecision(2) : value.toFixed(2),
);

export const bytes = written((value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  return `${SHORT.format(value / 1024 ** power)} ${units[power]}`;
});

/** @param {number | null} value seconds since 1970 */
export const moment = written((value) => MOMENT.format(new Date(1000 * value)));

/** @param {number | null} value seconds since 1970, of a day's begin in UTC */
export const day = written((value) => new Date(1000 * value).toISOString().slice(0, 10));

/** @param {number | null} value seconds: "3 min" */
export const span = written((value) => {
  if (value < 90) return `${Math.max(0, Math.round(value))} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
});

/**
 * A figure with its interval: "12 ms (10 to 14)".
 * @param {{value: number, low: number | null, high: number | null} | null} estimate
 */
export function interval(estimate, write) {
  if (estimate === null) return DASH;
  if (estimate.low === null) return write(estimate.value);
  return `${write(estimate.value)} (${write(estimate.low)} to ${write(estimate.high)})`;
}

/** The begin of the day in UTC, so many days back, today among them. @param {string} days empty: all */
export function beginOf(days) {
  return days ? (Math.floor(Date.now() / 1000 / DAY_S) - Number(days) + 1) * DAY_S : 0;
}
