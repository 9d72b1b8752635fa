/*
 * Vitrina's tag: asks for a decision, shows it where the page says, tells what was seen and clicked.
 *
 *   <script async crossorigin src="https://vitrina.example/v1/tag.js" data-key="vw_..."></script>
 *   <div data-vitrina="home" data-slots="2">what stands here when there is no answer</div>
 *
 * What the server says is text: it reaches the page through text nodes and five checked attributes only, so that a
 * server that lies can put up a wrong sentence, and nothing else. A server that is late, dead or odd changes nothing.
 *
 * `make tag` takes comments and blanks out; names stay as they are, and gzip makes them small.
 */
(() => {
  const SILENCE = 150, // ms from asking; after that the page's own content stays
    VISIBLE = 0.5, // share of an item's area that has to be in view,
    SEEN_AFTER = 1000, // for this many ms on end, before it counts as seen
    LIFETIME = 390 * 86400, // s that a permitted id is kept: never more than 13 months, and not renewed
    LARGEST = 1e5; // characters of an answer

  const script = document.currentScript;
  const early = window.vitrina || []; // calls that were made before this script was there
  if (!script || early.decide) return; // a second copy on the page
  const { key, server, consent: said } = script.dataset,
    gpc = !!navigator.globalPrivacyControl,
    asked = new WeakMap(), // element -> placement that it was filled for
    watched = new Map(), // item on the page -> {tell, timer} until it was seen
    told = new Set(), // message ids
    queue = []; // events that no server has taken yet
  let wait = 1000, // ms until they are tried again
    preferences,
    me,
    userHash;

  // ---- who: an id for this page only, or one that the person allowed us to keep

  function fresh() {
    return crypto.getRandomValues(new Uint32Array(4)).join("-");
  }

  function kept() {
    try {
      return document.cookie.match(/(^|; )vitrina_id=([\w-]+)/)?.[2];
    } catch {} // a sandboxed frame has no cookies
  }

  function keep(id, seconds) {
    const secure = location.protocol == "https:" ? "; Secure" : "";
    document.cookie = `vitrina_id=${id}; Max-Age=${seconds}; Path=/; SameSite=Lax${secure}`;
  }

  function begin(id, answers) {
    if (!id && kept()) keep("", 0);
    me = { anonymousId: id || fresh() }; // another object: what is watched for the old one is not told any more
    userHash = undefined;
    preferences = answers || (gpc ? { advertising: false } : {});
  }

  function forget() {
    begin();
  }

  function consent(given) {
    for (const name in given) {
      const purpose = name.replace("ization", "isation");
      preferences[purpose] = given[name] === true && !(gpc && /^ad/.test(purpose));
    }
    if (preferences.personalisation && !gpc && !kept()) keep(me.anonymousId, LIFETIME);
    send({ type: "track", event: "Segment Consent Preference Updated" }); // under the id that it is about
    if (preferences.personalisation === false) begin("", preferences);
  }

  function identify(userId, hash) {
    me.userId = userId || undefined;
    userHash = hash;
    if (userId) send({ type: "identify" });
  }

  // ---- events: simple requests that outlive the page, repeated until somebody takes them

  function post(route, body, options) {
    return fetch(new URL(route, server || script.src), {
      method: "POST",
      body: JSON.stringify(body), // as text/plain: no preflight
      credentials: "omit",
      redirect: "error",
      ...options,
    });
  }

  function flush() {
    const batch = queue.splice(0, 50);
    if (!batch.length) return;
    post("batch", { writeKey: key, sentAt: new Date(), batch }, { keepalive: true })
      .then(({ status }) => {
        if (status == 429 || status > 499) throw status;
        wait = 1000;
        flush();
      })
      .catch(() => {
        queue.unshift(...batch);
        queue.splice(500);
        setTimeout(flush, (wait = Math.min(wait * 2, 6e4)));
      });
  }

  function send(call) {
    queue.push({
      messageId: fresh(),
      timestamp: new Date(),
      ...me,
      context: {
        page: { path: location.pathname },
        userAgent: navigator.userAgent, // the bot check reads it
        globalPrivacyControl: gpc,
        consent: { categoryPreferences: { ...preferences } },
      },
      ...call,
    });
    flush();
  }

  function track(event, properties) {
    send({ type: "track", event, properties });
  }

  // ---- decisions

  async function decide(placement, options) {
    const began = performance.now(),
      owner = me,
      stop = new AbortController(),
      timer = setTimeout(() => stop.abort(), SILENCE);
    try {
      const response = await post(
        "decide",
        {
          ...options,
          ...me,
          userHash,
          placement,
          context: { page: location.pathname, locale: document.documentElement.lang, ...options?.context },
          globalPrivacyControl: gpc,
        },
        { headers: { authorization: "Basic " + btoa(key + ":") }, signal: stop.signal }
      );
      const text = await response.text();
      // The clock is asked too: on a busy page an answer can be read long after it came.
      if (text.length > LARGEST || performance.now() - began > SILENCE || owner != me) return null;
      const answer = JSON.parse(text);
      const ids = [answer.decisionId, ...answer.items.map(item => item.offerId)];
      return ids[1] && ids.every(id => typeof id == "string") ? answer : null;
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  // ---- showing

  function link(value) {
    try {
      const url = new URL(value, document.baseURI);
      return value && /^https?:$/.test(url.protocol) ? url.href : "";
    } catch {
      return "";
    }
  }

  // What a template may name, all of it text.
  function valuesOf(item, labels) {
    const values = { __proto__: null };
    for (const part of [labels, item.content, item.price, { offerId: item.offerId }])
      for (const name in part) if (/string|number/.test(typeof part[name])) values[name] = "" + part[name];
    return values;
  }

  function fromTemplate(template, values) {
    const copy = template.content.cloneNode(true); // inert until it is put into the page
    const put = text => text.replace(/{{\s*(\w+)\s*}}/g, (_, name) => values[name] || "");
    for (const node of copy.querySelectorAll("script,style")) node.remove();
    for (const node of copy.querySelectorAll("*")) {
      for (const child of node.childNodes) if (child.nodeType == 3) child.data = put(child.data);
      for (const { name, value } of [...node.attributes]) {
        if (!value.includes("{{")) continue;
        const filled = /^(alt|title|aria-label)$/.test(name)
          ? put(value)
          : /^(a href|img src)$/.test(node.localName + " " + name) && link(put(value));
        node.removeAttribute(name);
        if (filled) node.setAttribute(name, filled);
      }
    }
    return copy.firstElementChild;
  }

  function plain(values, word) {
    const { advertiser, erid, image, text, title, url } = values;
    const root = document.createElement(link(url) ? "a" : "div");
    const add = (tag, given, more) => {
      if (given) root.append(Object.assign(document.createElement(tag), more || { textContent: given }));
    };
    root.className = "vitrina-item";
    if (link(url)) root.href = link(url);
    add("img", link(image), { alt: "", src: link(image) });
    add("strong", title);
    add("span", text);
    add("small", word && [word, advertiser, erid].join(" "));
    return root;
  }

  function render(element, { decisionId, items, labels }) {
    const template = element.querySelector("template"),
      word = labels?.advertising && (element.dataset.label || "Ad"),
      shown = new Map();
    for (const item of items.slice(0, 20)) {
      const values = valuesOf(item, labels),
        node = template ? fromTemplate(template, values) : plain(values, word);
      if (node?.textContent.trim() || node?.querySelector("img[src]")) shown.set(node, item.offerId);
    }
    if (!shown.size) return;
    element.replaceChildren(...(template ? [template] : []), ...shown.keys());
    shown.forEach((offerId, node) => watch(node, decisionId, offerId));
    return true;
  }

  function refresh() {
    document.querySelectorAll("[data-vitrina]").forEach(async element => {
      const { vitrina: placement, slots } = element.dataset;
      if (asked.get(element) == placement) return;
      asked.set(element, placement);
      const answer = await decide(placement, { slots: +slots || undefined });
      const detail = answer && asked.get(element) == placement && render(element, answer) ? answer : null;
      element.dispatchEvent(new CustomEvent("vitrina", { bubbles: true, detail }));
    });
  }

  // ---- seen and clicked

  const observer = new IntersectionObserver(
    entries => {
      for (const { target, intersectionRatio, intersectionRect } of entries) {
        const item = watched.get(target);
        if (!item) continue;
        clearTimeout(item.timer);
        if (intersectionRatio >= VISIBLE && intersectionRect.height)
          item.timer = setTimeout(() => {
            item.tell("Viewed");
            observer.unobserve(target);
            watched.delete(target);
          }, SEEN_AFTER);
      }
    },
    { threshold: VISIBLE }
  );

  function watch(node, decisionId, offerId) {
    const owner = me;
    const tell = what => {
      const messageId = [decisionId, offerId, what].join(".");
      if (owner != me || told.has(messageId)) return;
      told.add(messageId);
      send({ type: "track", event: "Promotion " + what, messageId, properties: { decisionId, offerId } });
    };
    const click = event => event.button < 2 && tell("Clicked"); // 1 opens a link in another tab
    node.addEventListener("click", click, true);
    node.addEventListener("auxclick", click, true);
    watched.set(node, { tell });
    observer.observe(node);
  }

  // Nobody sees a page in the background: each item's second begins again when the page comes back.
  addEventListener("visibilitychange", () => {
    watched.forEach((item, node) => {
      clearTimeout(item.timer);
      observer.unobserve(node);
      if (!node.isConnected) watched.delete(node);
      else if (!document.hidden) observer.observe(node);
    });
  });
  addEventListener("online", flush);
  addEventListener("pagehide", flush);

  // ---- the page's own calls

  const api = { consent, decide, forget, identify, refresh, track, watch };
  api.push = ([name, ...given]) => api[name]?.(...given);
  begin(!gpc && kept());
  if (said == "granted") consent({ personalisation: true });
  window.vitrina = api;
  early.forEach?.(api.push);
  if (document.readyState == "loading") addEventListener("DOMContentLoaded", refresh);
  else refresh();
})();
