// Formatting of numbers and sizes.

const whole = new Intl.NumberFormat("en");

export const count = (number) => whole.format(number);

/** "1 block", "2 blocks". */
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A share from 0 to 1 in percent; a positive share is never "0". */
export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  if (share > 0 && share < 0.0005) return "<0.1";
  return (100 * share).toFixed(1);
}

/** An area in the unit with the fewest digits. */
export function area(m2) {
  if (m2 >= 1e6) return `${significant(m2 / 1e6)} km²`;
  if (m2 >= 1e4) return `${significant(m2 / 1e4)} ha`;
  return `${significant(m2)} m²`;
}

export function bytes(number) {
  if (number < 1000) return `${number} B`;
  for (const unit of ["kB", "MB", "GB"]) {
    number /= 1000;
    if (number < 1000 || unit === "GB") return `${significant(number)} ${unit}`;
  }
}

/** Three significant digits, without exponents. */
export function significant(number) {
  return new Intl.NumberFormat("en", { maximumSignificantDigits: number >= 100 ? 15 : 3, maximumFractionDigits: 0 }).format(
    number >= 100 ? Math.round(number) : number,
  );
}

export function duration(seconds) {
  if (seconds < 1) return "under 1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A length on the ground. */
export const metres = (m) => (m >= 1000 ? `${significant(m / 1000)} km` : m >= 1 ? `${significant(m)} m` : `${significant(100 * m)} cm`);
