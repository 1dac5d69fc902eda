/** The map as the server sends it: a head as JSON, then columns of numbers (docs/api.md). */

/** @type {Record<string, any>} */
const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };

/**
 * @typedef {object} MapData
 * @property {"pca" | "umap"} method
 * @property {string} computed_at
 * @property {boolean} stale The gallery has changed since.
 * @property {number} items Of the gallery.
 * @property {number} count Of the points that are here.
 * @property {Rest.ClusterOut[]} clusters
 * @property {Record<string, any>} columns Typed arrays by name: id, x, y, cluster, and what was asked for.
 * @property {Record<string, any[]>} values What the codes of a column stand for.
 */

/** @param {ArrayBuffer} buffer @returns {MapData} */
export function readMap(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  /** @type {Record<string, any>} */
  const columns = {};
  /** @type {Record<string, any[]>} */
  const values = {};
  for (const column of head.columns) {
    columns[column.name] = new TYPES[column.type](buffer, 4 + length + column.start, head.count);
    if (column.values) values[column.name] = column.values;
  }
  return { ...head, columns, values };
}
