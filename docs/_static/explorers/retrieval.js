// Chapter 8: the search of the book by words (greenlab.retrieval.bm25 and index); the index was made by Python.
(() => {
  const { fixed } = greenlab.words;
  const WORD = /\p{Nd}+(?:[.,]\p{Nd}+)*|[\p{L}\p{Nl}\p{No}]+(?:\p{Nd}+)?/gu;
  const LETTERS = /^\p{L}+$/u;
  const SOME = /[\p{L}\p{N}]/u;

  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  }

  /** The words that count: small letters, no stop words, without their ending. */
  function words(given, text) {
    const found = text.toLowerCase().match(WORD) ?? [];
    return found.filter((word) => !given.stop.has(word)).map((word) => stem(given, word));
  }

  function stem(given, word) {
    if (!LETTERS.test(word)) return word;
    const length = [...word].length;
    const ending = given.endings.find((one) => word.endsWith(one) && length - one.length >= given.shortest_stem);
    return ending ? word.slice(0, -ending.length) : word;
  }

  function opened(given) {
    if (given.index) return given.index;
    given.stop = new Set(given.stopwords);
    const starts = new Uint32Array(bytes(given.starts));
    const ids = new Map(given.vocabulary.map((word, id) => [word, id]));
    given.index = { starts, ids, scores: new Float32Array(bytes(given.scores)), passages: new Uint16Array(bytes(given.holders)) };
    return given.index;
  }

  /** Numbers and scores of the best passages, the best first; of equals the one that comes first in the book. */
  function search(given, query, n) {
    const { starts, ids, scores, passages } = opened(given);
    const total = new Float32Array(given.passages.length); // as in Python: sums of 32 bits
    for (const word of words(given, query)) {
      const id = ids.get(word);
      if (id === undefined) continue;
      for (let i = starts[id]; i < starts[id + 1]; i += 1) total[passages[i]] += scores[i];
    }
    const found = [...total.keys()].filter((place) => total[place] !== 0);
    found.sort((a, b) => total[b] - total[a] || a - b);
    return found.slice(0, n).map((place) => ({ passage: place, score: total[place] }));
  }

  function short(text, most) {
    const letters = [...text];
    if (letters.length <= most) return text;
    const cut = letters.slice(0, most - 1).join("");
    const space = cut.lastIndexOf(" ");
    return `${space > 0 ? cut.slice(0, space) : cut} …`;
  }

  greenlab.explorers["retrieval.ask_widget"] = {
    at(given, { asked, n_passages }) {
      const empty = !SOME.test(asked);
      const query = empty ? given.question : asked.slice(0, given.longest_query);
      const found = search(given, query, n_passages);
      const [many, plural] = [found.length || "no", found.length < 2 ? "" : "s"];
      const labels = found.map(({ passage, score }, i) => ({
        label: `[${i + 1}] ${short(given.passages[passage][0], 40)}`, score,
      }));
      const spec = JSON.parse(JSON.stringify(given.spec).replaceAll("GREENLAB_TITLE", `BM25 finds ${many} passage${plural}; no model is asked`));
      spec.datasets = { [spec.data.name]: labels.length ? labels : [{ label: "no passage", score: 0 }] };
      spec.layer[0].encoding.x.scale.domain = [0, found.length ? found[0].score : 1];
      spec.description = `Scores of the passages that BM25 finds for the question: ${found.length}`;
      const note = empty ? " (the question was empty; this is the first one)" : "";
      const best = found.length ? `the best has a score of ${fixed(found[0].score, 2)}` : "the book has none of these words";
      return { found, spec, text: `Searched${note}: ${given.passages.length} passages of the book; ${found.length || "none"} found, ${best}.`, reached: false };
    },
    after(host, { found }, given) {
      let list = host.querySelector("ol.gl-found");
      if (!list) host.append((list = greenlab.show.make("ol", { class: "gl-found" })));
      list.replaceChildren(...found.map(({ passage }) => {
        const [title, text, address] = given.passages[passage];
        const item = greenlab.show.make("li");
        item.append(greenlab.show.make("a", { href: address }, title || address), greenlab.show.make("p", {}, text));
        return item;
      }));
    },
  };
})();
