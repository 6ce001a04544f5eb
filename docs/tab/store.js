// The model's files: fetched from this site, compared with their sha256, and kept by the browser's Cache API.

const CACHE = "greenlab-tab";

/** An error with a word for the page: offline, not-built, server, damaged, cancelled. */
export class StoreError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Store {
  /** @param {string} folder the address of the folder of weights, ending with a slash */
  constructor(folder) {
    this.folder = folder;
  }

  /** What there is to fetch; asked for anew each time, so that a new build is seen. */
  async manifest() {
    const response = await this.ask(new URL("manifest.json", this.folder), { cache: "no-cache" });
    try {
      return await response.json();
    } catch {
      throw new StoreError("damaged", "manifest.json cannot be read");
    }
  }

  /** The address of a file; its hash is in it, so that no older file is taken for it. */
  address(file) {
    return new URL(`${file.name}?${file.sha256.slice(0, 16)}`, this.folder).href;
  }

  /** The browser's cache; null where it has none (a page that is not on https or this machine, or a private window). */
  async cache() {
    try {
      return await globalThis.caches.open(CACHE);
    } catch {
      return null;
    }
  }

  /** How many bytes of the files are here already. */
  async bytesHere(files) {
    const made = await globalThis.caches?.has(CACHE).catch(() => false); // to open it would make it
    const cache = made ? await this.cache() : null;
    if (!cache) return 0;
    const found = await Promise.all(files.map((file) => cache.match(this.address(file))));
    return files.reduce((sum, file, i) => sum + (found[i] ? file.bytes : 0), 0);
  }

  /** Remove what is kept, and say whether anything was. */
  async clear() {
    return globalThis.caches ? caches.delete(CACHE) : false;
  }

  /** Remove files of older builds. */
  async sweep(files) {
    const cache = await this.cache();
    const wanted = new Set(files.map((file) => this.address(file)));
    for (const request of (await cache?.keys()) ?? []) if (!wanted.has(request.url)) await cache.delete(request);
  }

  /**
   * The bytes of a file, from the cache or the network.
   *
   * @param {{name: string, bytes: number, sha256: string}} file an entry of the manifest
   * @param {AbortSignal} signal breaks it off
   * @param {(bytes: number) => void} progress is told how many more bytes have come
   * @returns {Promise<{bytes: Uint8Array, kept: boolean}>} and whether the browser keeps them
   */
  async get(file, signal, progress) {
    const cache = await this.cache();
    const address = this.address(file);
    const here = await cache?.match(address);
    if (here) {
      const bytes = new Uint8Array(await here.arrayBuffer());
      if (await isWhole(file, bytes)) {
        progress(bytes.length);
        return { bytes, kept: true };
      }
      await cache.delete(address);
    }
    const response = await this.ask(address, { signal, cache: cache ? "no-store" : "default" });
    const bytes = await received(response, file, progress);
    if (!(await isWhole(file, bytes))) {
      throw new StoreError("damaged", `${file.name} is not the file that was built: its size or its sha256 differs`);
    }
    let kept = false;
    try {
      await cache?.put(address, new Response(bytes));
      kept = cache !== null;
    } catch {
      // no room: the model works all the same and is fetched again next time
    }
    return { bytes, kept };
  }

  async ask(address, options) {
    let response;
    try {
      response = await fetch(address, options);
    } catch (error) {
      throw broken(error);
    }
    if (response.status === 404) throw new StoreError("not-built", `${new URL(address).pathname} is not there`);
    if (!response.ok) throw new StoreError("server", `the server answered ${response.status}`);
    return response;
  }
}

function broken(error) {
  if (error.name === "AbortError") return new StoreError("cancelled", "cancelled");
  return new StoreError("offline", error.message);
}

/** Read a response into an array of the size that was announced. */
async function received(response, file, progress) {
  const bytes = new Uint8Array(file.bytes);
  const reader = response.body.getReader();
  let at = 0;
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      throw broken(error);
    }
    if (part.done) break;
    if (at + part.value.length > file.bytes) throw new StoreError("damaged", `${file.name} is larger than announced`);
    bytes.set(part.value, at);
    at += part.value.length;
    progress(part.value.length);
  }
  return bytes.subarray(0, at);
}

/** Whether the bytes are those of the build. Browsers hash on https and on this machine only; elsewhere size decides. */
async function isWhole(file, bytes) {
  if (bytes.length !== file.bytes) return false;
  if (!globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === file.sha256;
}
