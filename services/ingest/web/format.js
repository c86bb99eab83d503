// Numbers, sizes and times for people; pure.

const whole = new Intl.NumberFormat("en");
const moments = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

export const number = (value) => whole.format(value);

export const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Bytes in powers of a thousand. */
export function size(bytes) {
  let amount = bytes;
  for (const unit of ["B", "kB", "MB"]) {
    if (amount < 999.5) return `${amount.toFixed(unit === "MB" && amount < 100 ? 1 : 0)} ${unit}`;
    amount /= 1000;
  }
  return `${amount.toFixed(2)} GB`;
}

/** Seconds as "0.4 s", "38 s", "3 min 20 s" or "2 h 5 min". */
export function duration(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ""}`;
  return `${number(Math.floor(s / 3600))} h ${Math.floor((s % 3600) / 60)} min`;
}

export const rate = (perSecond) => (perSecond < 10 ? perSecond.toFixed(1) : number(Math.round(perSecond)));

/** How much smaller `after` bytes are than `before`, as "−78 %". */
export function change(before, after) {
  const percent = before ? Math.round((after / before - 1) * 100) : 0;
  return `${percent > 0 ? "+" : percent < 0 ? "−" : "±"}${Math.abs(percent)} %`;
}

export const moment = (iso) => (iso ? moments.format(new Date(iso)) : "");

/** Seconds between two times of the service. */
export const between = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;
