
"use strict";
/* Responses side by side: finds, orders and lays out the rows that the page holds as JSON, a few at a time.

   A row is [number, prompt, place, answers, stages that trained on the prompt]; an answer is, in the order of the
   policies, [response, gold, reward, z over the baseline, kl, tokens, characters, ended, why there is no z,
   {another policy's place: z over it}]; null where there is none. */
(() => {
  const RESPONSE = 0, GOLD = 1, REWARD = 2, Z = 3, KL = 4, TOKENS = 5, CHARACTERS = 6, ENDED = 7, WHY = 8, OVER = 9;
  const ROWS_AT_ONCE = 10, LONG = 700, LINES = 14, FOUND_BEFORE = 200;

  const about = JSON.parse(document.getElementById("about").textContent);
  const form = document.getElementById("find");
  const list = document.getElementById("rows");
  const { policies, baseline } = about;

  /* ---- the rows, read when they are needed */
  const blocks = [...document.querySelectorAll("script.rows")];
  let rows = null;
  const all = () => (rows ??= blocks.flatMap((block) => JSON.parse(block.textContent)));

  /* ---- elements */
  const make = (tag, attributes = {}, ...inner) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...inner);
    return element;
  };
  /* What cannot be seen, or turns the direction of everything after it, is shown as a sign of its own. */
  const visible = (text) =>
    text.replace(/\r\n?/g, "\n").replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
      .replace(/[\u007f-\u009f\u202d\u202e]/g, "\ufffd");
  const marked = (text, words) => {
    if (!words) return [text];
    const parts = [], low = text.toLowerCase();
    if (low.length !== text.length) return [text]; /* a letter that has no small one of its length */
    let at = 0;
    for (let next; (next = low.indexOf(words, at)) >= 0; at = next + words.length)
      parts.push(text.slice(at, next), make("mark", {}, text.slice(next, next + words.length)));
    return [...parts, text.slice(at)];
  };
  const cut = (text) => {
    let end = Math.min(text.length, LONG), at = -1;
    for (let line = 0; line < LINES && (at = text.indexOf("\n", at + 1)) >= 0; line++);
    if (at >= 0) end = Math.min(end, at);
    if (text.length - end < LONG / 4) return text.length;
    const space = text.lastIndexOf(" ", end);
    if (space > end - 40) return space;
    return /[\ud800-\udbff]/.test(text[end - 1]) ? end - 1 : end;
  };
  /* A text, folded where it is long; what is looked for is never in the part folded away. */
  const said = (whole, kind, words) => {
    const text = visible(whole), box = make("div", { class: `text ${kind}`, dir: "auto" });
    if (!text) { box.append(make("em", { class: "note" }, "(empty)")); return [box]; }
    let end = cut(text);
    const found = words ? text.toLowerCase().indexOf(words) : -1;
    if (found + (words || "").length > end) end = Math.min(text.length, found + FOUND_BEFORE + words.length);
    box.append(...marked(text.slice(0, end), words));
    if (end >= text.length) return [box];
    const more = make("button", { type: "button", class: "more", "aria-expanded": "false" });
    const label = (open) => (more.textContent = open ? "Show less" : `Show all ${text.length.toLocaleString("en")} characters`);
    label(false);
    box.append("…");
    more.addEventListener("click", () => {
      const open = more.getAttribute("aria-expanded") === "false";
      more.setAttribute("aria-expanded", String(open));
      box.replaceChildren(...marked(open ? text : text.slice(0, end), words), open ? "" : "…");
      label(open);
    });
    return [box, more];
  };
  const asked = (prompt, words) => {
    const box = make("div", { class: "asked" });
    if (typeof prompt === "string") box.append(...said(prompt, "", words));
    else for (const turn of prompt) {
      const role = String(turn.role);
      const content = typeof turn.content === "string" ? turn.content : JSON.stringify(turn.content);
      box.append(make("div", { class: role === "assistant" ? "turn assistant" : "turn" }, make("span", { class: "role" }, role), ...said(content, "", words)));
    }
    return box;
  };

  /* ---- who wins: 1 the first, 0 the second, 0.5 a tie, null where nobody says */
  const compare = (a, b) => (a == null || b == null ? null : a > b ? 1 : a < b ? 0 : 0.5);
  const MEASURE = { gold: GOLD, reward: REWARD };
  const direct = (row, one, other) => (other === baseline ? row[3][one][Z] : row[3][one][OVER]?.[other]);
  const z = (row, one, other) => {
    if (one === other) return null;
    if (about.judged && row[3][one][RESPONSE] === row[3][other][RESPONSE]) return 0.5; /* a tie, without asking */
    const turned = direct(row, other, one);
    return direct(row, one, other) ?? (turned == null ? null : 1 - turned);
  };
  const side = (value) => (value == null ? null : compare(value, 0.5));
  const outcome = (row, by, one, other) =>
    one === other ? null : by === "judge" ? side(z(row, one, other)) : compare(row[3][one][MEASURE[by]], row[3][other][MEASURE[by]]);
  const apart = (row, index, one, other) => {
    const a = row[3][one][index], b = row[3][other][index];
    return a == null || b == null ? null : a - b;
  };

  /* ---- what is asked for */
  const wanted = () => {
    const values = new FormData(form), number = (name) => Number(values.get(name) ?? 0);
    return {
      words: (values.get("words") || "").toLowerCase(),
      one: number("one"), other: number("other"), by: values.get("by"), which: values.get("which"), order: values.get("order"),
      shown: new Set(policies.length > 1 ? values.getAll("shown").map(Number) : [0]),
    };
  };
  const has = (row, words) => {
    const prompt = typeof row[1] === "string" ? row[1] : row[1].map((turn) => turn.content).join("\n");
    return [prompt, ...row[3].map((answer) => answer[RESPONSE] ?? "")].some((text) => visible(String(text)).toLowerCase().includes(words));
  };
  const kinds = {
    all: () => true,
    one: (row, w) => outcome(row, w.by, w.one, w.other) === 1,
    tie: (row, w) => outcome(row, w.by, w.one, w.other) === 0.5,
    other: (row, w) => outcome(row, w.by, w.one, w.other) === 0,
    unknown: (row, w) => outcome(row, w.by, w.one, w.other) === null,
    differ: (row, w) => {
      const gold = outcome(row, "gold", w.one, w.other), judge = side(z(row, w.one, w.other));
      return gold != null && judge != null && gold !== 0.5 && judge !== gold;
    },
    reward_differs: (row, w) => {
      const gold = outcome(row, "gold", w.one, w.other), reward = outcome(row, "reward", w.one, w.other);
      return gold != null && reward != null && gold !== 0.5 && reward !== gold;
    },
    cut: (row, w) => [w.one, w.other].some((at) => row[3][at][ENDED] === false),
    trained: (row) => Boolean(row[4]),
    same: (row, w) => row[3][w.one][RESPONSE] === row[3][w.other][RESPONSE],
  };
  const size = (value) => (value == null ? null : Math.abs(value));
  const orders = {
    differ: (row, w) => {
      const gold = outcome(row, "gold", w.one, w.other), judge = z(row, w.one, w.other);
      return gold == null || judge == null ? null : Math.abs(judge - gold);
    },
    gold: (row, w) => size(apart(row, GOLD, w.one, w.other)),
    reward: (row, w) => size(apart(row, REWARD, w.one, w.other)),
    length: (row, w) => size(apart(row, CHARACTERS, w.one, w.other)),
    kl: (row, w) => row[3][w.one][KL],
    worst: (row, w) => (row[3][w.one][GOLD] == null ? null : -row[3][w.one][GOLD]),
  };

  /* ---- layout */
  const decimal = (value, digits) => (Number.isInteger(value) ? String(value) : value.toFixed(digits));
  const numbers = (answer, at) => {
    const items = [];
    const add = (name, value, title) => value != null && items.push(make("div", title ? { title } : {}, make("dt", {}, name), make("dd", {}, value)));
    const number = (index, digits) => (answer[index] == null ? null : decimal(answer[index], digits));
    add("gold", number(GOLD, 3));
    add("reward", number(REWARD, 3));
    add(`z over ${policies[baseline]}`, number(Z, 3), "the judge's probability that this response is the better one");
    for (const [other, value] of Object.entries(answer[OVER] ?? {})) add(`z over ${policies[other]}`, decimal(value, 3));
    if (answer[Z] == null && answer[RESPONSE] != null) add("unjudged:", answer[WHY]);
    add("KL", number(KL, 2), "nats, to the reference");
    if (answer[TOKENS] != null) add("tokens", number(TOKENS, 0));
    else if (answer[RESPONSE] != null) add("characters", number(CHARACTERS, 0));
    if (answer[ENDED] === false) add("", "cut off");
    return make("dl", {}, ...items);
  };
  const verdict = (row, at, w) => {
    if (w.one === w.other || (at !== w.one && at !== w.other)) return null;
    const won = outcome(row, w.by, at, at === w.one ? w.other : w.one);
    const words = { 1: "wins", 0: "loses", 0.5: "tie" }[won];
    return words ? make("span", won === 0 ? { class: "lost" } : {}, `${words} by ${w.by}`) : null;
  };
  const laidOut = (row, w) => {
    const answers = make("div", { class: "answers" });
    row[3].forEach((answer, at) => {
      if (!w.shown.has(at)) return;
      const head = make("h4", {}, policies[at]), how = verdict(row, at, w);
      if (how) head.append(how);
      const inner = answer[RESPONSE] == null ? [make("em", { class: "note" }, answer[WHY] ?? "no response")] : said(answer[RESPONSE], "", w.words);
      answers.append(make("section", { class: "answer", "aria-label": policies[at] }, head, ...inner, numbers(answer, at)));
    });
    const name = `prompt-${row[0]}`;
    const head = make("header", {}, make("h3", {}, make("a", { href: `#${name}` }, `Prompt ${row[0]}`)), make("span", {}, row[2] ?? ""));
    if (row[4]) head.append(make("span", {}, `trained on: ${row[4].join(", ")}`));
    return make("article", { id: name }, head, asked(row[1], w.words), answers);
  };

  let found = [], page = 0, quiet = false;
  const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
  const show = () => {
    const w = wanted(), pages = Math.max(1, Math.ceil(found.length / ROWS_AT_ONCE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const from = page * ROWS_AT_ONCE, shown = found.slice(from, from + ROWS_AT_ONCE);
    list.replaceChildren(...shown.map((row) => laidOut(row, w)));
    for (const answers of list.querySelectorAll(".answers")) if (answers.scrollWidth > answers.clientWidth) answers.tabIndex = 0;
    const many = found.length === all().length ? count(found.length, "prompt") : `${found.length.toLocaleString("en")} of ${count(all().length, "prompt")}`;
    const where = shown.length ? `${many}, ${(from + 1).toLocaleString("en")} to ${(from + shown.length).toLocaleString("en")} shown` : `${many}: nothing is like that`;
    for (const pager of document.querySelectorAll(".pager")) {
      pager.querySelector("output").textContent = where;
      pager.querySelector("[data-step='-1']").disabled = page === 0;
      pager.querySelector("[data-step='1']").disabled = page === pages - 1;
    }
  };
  const look = () => {
    const w = wanted(), score = orders[w.order];
    found = all().filter((row) => kinds[w.which](row, w) && (!w.words || has(row, w.words)));
    if (score) {
      const scored = found.map((row) => [score(row, w), row]);
      scored.sort((a, b) => (a[0] == null) - (b[0] == null) || b[0] - a[0] || a[1][0] - b[1][0]); /* without a number last */
      found = scored.map(([, row]) => row);
    }
    page = 0;
    show();
  };
  const goTo = () => {
    const name = decodeURIComponent(location.hash.slice(1));
    if (!/^prompt-\d+$/.test(name)) return;
    let at = found.findIndex((row) => `prompt-${row[0]}` === name);
    if (at < 0 && all().some((row) => `prompt-${row[0]}` === name)) {
      quiet = true;
      form.reset();
      quiet = false;
      look();
      at = found.findIndex((row) => `prompt-${row[0]}` === name);
    }
    if (at < 0) return;
    page = Math.floor(at / ROWS_AT_ONCE);
    show();
    document.getElementById(name).scrollIntoView();
  };

  let later;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    clearTimeout(later);
    if (event.target.name === "shown") show();
    else later = setTimeout(look, event.target.name === "words" ? 150 : 0);
  });
  form.addEventListener("reset", () => quiet || setTimeout(look)); /* after the fields are reset */
  for (const pager of document.querySelectorAll(".pager")) {
    pager.addEventListener("click", (event) => {
      const step = Number(event.target.dataset.step || 0);
      if (!step) return;
      page += step;
      show();
      form.scrollIntoView();
    });
  }
  window.addEventListener("hashchange", goTo);
  for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;
  look();
  goTo();
})();
