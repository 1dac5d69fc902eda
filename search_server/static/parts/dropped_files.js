/** The files of what is dropped: folders with everything in them. */

const PICTURE = /\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|avif)$/i;

/** Whether a file may be a picture, by its type or its name. @param {File} file */
export function mayBePicture(file) {
  return file.type.startsWith("image/") || PICTURE.test(file.name);
}

/**
 * What was dropped, as a file system has it; it must be asked for before the event is over.
 *
 * @param {DataTransfer} transfer
 * @returns {any[]} DOM types know no entries of files.
 */
export function entriesOf(transfer) {
  return [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
}

/** All files of some entries, those of a folder in the order of their names. @param {any[]} entries @returns {Promise<File[]>} */
export async function filesIn(entries) {
  return (await Promise.all(entries.map(filesOf))).flat();
}

/** @param {any} entry @returns {Promise<File[]>} */
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  /** @type {any[]} */
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break; // a browser hands over a hundred at a time
    found.push(...some);
  }
  found.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
  return filesIn(found);
}
