// Byte-level byte-pair encoding (Sennrich and others, arXiv:1508.07909; bytes as in GPT-2), from text to tokens and back.

// Where a text may be cut before its bytes are merged: contractions, words, numbers, signs, spaces.
// \s of JavaScript also takes U+FEFF and leaves out U+0085, so White_Space is named instead.
const PIECES =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** A visible character for each of the 256 bytes: printable ones stand for themselves, the others from U+0100 on. */
const CHARACTERS = (() => {
  const table = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte < 256 && byte !== 173);
    table.push(String.fromCodePoint(printable ? byte : next++));
  }
  return table;
})();
const BYTES = new Map(CHARACTERS.map((character, byte) => [character, byte]));

export class Tokenizer {
  /** @param {{tokens: string[], merges: number[], special: number[]}} table what greenlab.tab wrote as tokenizer.json */
  constructor({ tokens, merges, special }) {
    this.tokens = tokens;
    this.ids = new Map(tokens.map((token, id) => [token, id]));
    this.special = new Set(special);
    this.size = tokens.length;
    this.ranks = new Map(); // left * size + right -> [rank, merged]
    for (let i = 0; i < merges.length; i += 2) {
      const merged = this.ids.get(tokens[merges[i]] + tokens[merges[i + 1]]);
      this.ranks.set(merges[i] * this.size + merges[i + 1], [i / 2, merged]);
    }
    const escaped = special.map((id) => tokens[id].replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    this.marks = new RegExp(`(${escaped.join("|")})`, "u");
    this.known = new Map();
  }

  /** The ids of a text. */
  encode(text) {
    const ids = [];
    for (const part of text.split(this.marks)) {
      const id = this.ids.get(part);
      if (id !== undefined && this.special.has(id)) ids.push(id);
      else for (const [piece] of part.matchAll(PIECES)) ids.push(...this.merge(piece));
    }
    return ids;
  }

  /** The ids of one piece: the pair of lowest rank is merged until there is none. */
  merge(piece) {
    const found = this.known.get(piece);
    if (found) return found;
    // a few bytes that its training text never held have no token; like the tokenizers library, they are left out
    const bytes = Array.from(new TextEncoder().encode(piece), (byte) => this.ids.get(CHARACTERS[byte]));
    const ids = bytes.filter((id) => id !== undefined);
    for (;;) {
      let best = null;
      let place = -1;
      for (let i = 0; i + 1 < ids.length; i++) {
        const pair = this.ranks.get(ids[i] * this.size + ids[i + 1]);
        if (pair && (best === null || pair[0] < best[0])) [best, place] = [pair, i];
      }
      if (best === null) break;
      ids.splice(place, 2, best[1]);
    }
    if (this.known.size > 10000) this.known.clear();
    this.known.set(piece, ids);
    return ids;
  }

  /** The bytes of one token. */
  bytes(id) {
    const token = this.tokens[id];
    if (token === undefined) throw new RangeError(`id=${id}: give a whole number from 0 to ${this.size - 1}`);
    if (this.special.has(id)) return new TextEncoder().encode(token);
    return Uint8Array.from([...token], (character) => BYTES.get(character));
  }

  /** The text of tokens; bytes that are no UTF-8 become U+FFFD. */
  decode(ids) {
    const decoder = this.decoder();
    return ids.map((id) => decoder.add(id)).join("") + decoder.end();
  }

  /** Decodes token by token: a character whose bytes are not all there yet is held back. */
  decoder() {
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      add: (id) => utf8.decode(this.bytes(id), { stream: true }),
      end: () => utf8.decode(),
    };
  }
}
