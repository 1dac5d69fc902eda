/** The tray as CSV (RFC 4180), which spreadsheets open. */

const COLUMNS = ["id", "sign", "name", "path", "width", "height", "score", "sha256"];

/**
 * @param {{item: any, sign: 1 | -1}[]} entries
 * @param {(id: string) => string} address
 */
export function trayTable(entries, address) {
  const rows = entries.map(({ item, sign }) => [...COLUMNS.map((column) => (column === "sign" ? sign : item[column])), address(item.id)]);
  const lines = [[...COLUMNS, "address"], ...rows].map((row) => row.map(field).join(","));
  return new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv;charset=utf-8" });
}

/** One field. What a spreadsheet would take for a formula begins with an apostrophe: names are written by strangers. @param {unknown} value */
function field(value) {
  const text = value === undefined || value === null ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
