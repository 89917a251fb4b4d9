"use strict";
// The live page: one picture of all streams comes by an event source; this draws the one that is
// selected. Everything is put in as text, never as markup.
(() => {
  const MOST_POINTS = 1200;
  const STATES = {
    starting: ["Starting", "info"], waiting_for_start: ["Waiting for its start", "info"],
    running: ["Running", "good"], held_back: ["Held back", "warn"], gate_away: ["Gate away", "bad"],
    store_away: ["Store away", "bad"], paused: ["Paused", "warn"], ending: ["Ending", "info"],
  };
  const ENDS = {
    STREAMED: ["Streamed to its end", "good"], STOPPED: ["Stopped as asked", "good"],
    KILLED: ["Its process is gone without a word: killed, or crashed", "bad"],
    UNKNOWN: ["It ended; how is not known", "warn"],
  };
  const $ = (id) => document.getElementById(id);
  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const some = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

  const streams = new Map(); // Key: what was last told of a stream, also once it has ended.
  let selected = null;
  let picture = { streams: [], ended: [] };
  let lastState = "";

  // ---- Words ------------------------------------------------------------------------------
  const keyOf = (stream) => `${stream.run}/${stream.stream}`;
  const millis = (ms) => ms === null || ms === undefined ? "–"
    : ms >= 60000 ? `${some.format(ms / 60000)} min` : ms >= 1000 ? `${some.format(ms / 1000)} s`
    : ms >= 1 ? `${some.format(ms)} ms` : `${whole.format(ms * 1000)} µs`;
  const rate = (n) => n === null || n === undefined ? "–" : n >= 100 ? whole.format(n) : some.format(n);
  const eventTime = (text) => text ? `${text.slice(0, 10)} ${text.slice(11, 19)}` : "–";
  const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);
  const span = (seconds) => {
    if (!Number.isFinite(seconds)) return "";
    if (seconds < 90) return `${Math.ceil(seconds)} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    if (seconds < 172800) return `${some.format(seconds / 3600)} h`;
    return `${some.format(seconds / 86400)} days`;
  };
  const paceText = (pace) => {
    if (pace.rate) {
      const first = `${rate(pace.rate[0].rate)} events/s`;
      return pace.rate.length > 1 ? `${first}, ${pace.rate.length} steps` : first;
    }
    return pace.speedup === 0 ? "as fast as possible" : `${rate(pace.speedup)} × event time`;
  };
  const sum = (counts) => Object.values(counts || {}).reduce((all, count) => all + count, 0);

  // ---- Elements ---------------------------------------------------------------------------
  const text = (element, value) => { if (element.textContent !== value) element.textContent = value; };
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
    element.append(...children);
    return element;
  };
  // Makes a parent's children as many as the items, and fills each: elements stay, and so does focus.
  const fill = (parent, items, create, update) => {
    while (parent.children.length > items.length) parent.lastElementChild.remove();
    items.forEach((item, index) => {
      const element = parent.children[index] || parent.appendChild(create());
      update(element, item);
    });
  };
  const say = (sentence) => { text($("announce"), sentence); };

  // ---- Plots ------------------------------------------------------------------------------
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plots = {};
  const FIELDS = { at: 0, rate: 1, p50: 2, p99: 3, max: 4, retries: 5, permits: 6, buffered: 7 };
  const axes = (format) => {
    const grid = { stroke: colour("--grid"), width: 1 };
    const common = { stroke: colour("--soft"), font: "12px system-ui, sans-serif", grid, ticks: { show: false } };
    return [
      { ...common, space: 70, values: (_, at) => at.map(clock) },
      { ...common, size: 62, values: (_, at) => at.map((value) => value === null ? "" : format(value)) },
    ];
  };
  const line = (name, width = 1.6, extra = {}) => ({ stroke: colour(name), width, points: { show: false }, spanGaps: true, ...extra });
  const options = {
    rate: () => ({
      axes: axes(rate), scales: { x: { time: false }, y: { range: (_, low, high) => [0, Math.max(high * 1.15, 1)] } },
      series: [{}, line("--plot-1", 1.8, { fill: `${colour("--plot-1")}22` })],
    }),
    late: () => ({
      // A decade up and down of what there is: microseconds and minutes on one page.
      axes: axes(millis), scales: { x: { time: false }, y: { distr: 3, range: (_, low, high) => [Math.max((low || 0.01) / 2, 0.001), Math.max((high || 1) * 2, 0.1)] } },
      series: [{}, line("--plot-3", 1.2), line("--plot-2"), line("--plot-1", 1.8)],
    }),
  };
  const draw = (name, data) => {
    const box = $(`plot-${name}`);
    const size = { width: Math.max(box.clientWidth, 120), height: box.clientHeight };
    if (!plots[name]) {
      const fixed = { cursor: { show: false }, legend: { show: false }, padding: [8, 6, 0, 0] };
      plots[name] = new uPlot({ ...size, ...fixed, ...options[name]() }, data, box);
    } else {
      plots[name].setData(data);
    }
  };
  const redraw = () => {
    for (const name of Object.keys(plots)) { plots[name].destroy(); delete plots[name]; }
    if (selected) showPlots(streams.get(selected));
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const resized = new ResizeObserver(() => {
    for (const [name, plot] of Object.entries(plots)) {
      const box = $(`plot-${name}`);
      if (box.clientWidth > 0) plot.setSize({ width: box.clientWidth, height: box.clientHeight });
    }
  });
  ["plot-rate", "plot-late"].forEach((id) => resized.observe($(id)));
  const legend = (id, items) => fill($(id), items,
    () => make("li", {}, make("span", { class: "swatch", "aria-hidden": "true" }), make("span"), make("b")),
    (element, [plot, name, value]) => {
      element.children[0].dataset.plot = plot;
      text(element.children[1], name);
      text(element.children[2], value);
    });
  const showPlots = (stream) => {
    const column = (field) => stream.points.map((point) => point[field]);
    // A logarithm has no zero: what is not late at all is a microsecond late.
    const late = (field) => column(field).map((value) => value === null ? null : Math.max(value, 0.001));
    const at = column(FIELDS.at);
    draw("rate", [at, column(FIELDS.rate)]);
    draw("late", [at, late(FIELDS.max), late(FIELDS.p99), late(FIELDS.p50)]);
    const last = stream.points.at(-1) || [];
    legend("legend-rate", [["1", "events/s", rate(last[FIELDS.rate])]]);
    legend("legend-late", [
      ["1", "p50", millis(last[FIELDS.p50])], ["2", "p99", millis(last[FIELDS.p99])], ["3", "max", millis(last[FIELDS.max])],
    ]);
    const most = Math.max(0, ...column(FIELDS.rate));
    text($("plot-rate-text"), `Now ${rate(last[FIELDS.rate])} events a second, at most ${rate(most)} in the time shown.`);
    text($("plot-late-text"), `In the last half second: half of the events at most ${millis(last[FIELDS.p50])} late, 99 percent at most ${millis(last[FIELDS.p99])}.`);
    $("plot-rate").dataset.points = String(at.length);
  };

  // ---- The selected stream -----------------------------------------------------------------
  const meanRate = (stream) => {
    const last = stream.points.slice(-60).map((point) => point[FIELDS.rate]);
    return last.length ? last.reduce((all, one) => all + one, 0) / last.length : 0;
  };
  const showHead = (stream) => {
    const { snapshot, over } = stream;
    const [word, tone] = over ? ["Ended", "info"] : STATES[snapshot.state] || [snapshot.state, "info"];
    text($("run"), stream.run || stream.stream);
    text($("sub"), `process ${stream.stream}`);
    text($("state"), word);
    $("state").dataset.tone = tone;
    text($("event-time"), eventTime(snapshot.event_time));
    text($("pace"), paceText(snapshot.pace));
    const done = snapshot.acknowledged + snapshot.quarantined;
    const share = snapshot.total ? Math.min(100, 100 * done / snapshot.total) : null;
    const left = snapshot.total && !over && snapshot.state !== "paused" ? span((snapshot.total - done) / meanRate(stream)) : "";
    text($("progress-text"), share === null ? `${whole.format(done)} events`
      : `${some.format(Math.floor(share * 10) / 10)} %${left && share < 100 ? ` · ${left} left` : ""}`);
    const bar = $("progress");
    bar.hidden = share === null;
    if (share !== null) {
      bar.setAttribute("aria-valuenow", share.toFixed(1));
      bar.setAttribute("aria-valuetext", `${whole.format(done)} of ${whole.format(snapshot.total)} events`);
      $("progress-bar").style.width = `${share}%`;
    }
    const notes = [];
    if (snapshot.total) notes.push(`${whole.format(done)} of ${whole.format(snapshot.total)} events`);
    if (snapshot.sorting) notes.push(`sorting parts: ${whole.format(snapshot.sorting[0])} of ${whole.format(snapshot.sorting[1])} rows`);
    if (snapshot.next_due && !over) notes.push(`next event due ${snapshot.next_due}`);
    if (snapshot.pause_at && !over) notes.push(`to pause at event time ${eventTime(snapshot.pause_at)}`);
    if (snapshot.resume_at && !over) notes.push(`to go on at ${eventTime(snapshot.resume_at)}`);
    text($("note"), notes.join(" · "));
  };
  const showTiles = (stream) => {
    const { snapshot } = stream;
    const last = stream.points.at(-1) || [];
    const retries = sum(snapshot.retries);
    const quarantined = snapshot.quarantined + (snapshot.decisions ? snapshot.decisions.quarantine : 0);
    const unsaved = Math.max(0, snapshot.acknowledged + snapshot.quarantined - snapshot.durable);
    const late = snapshot.send_lateness;
    const items = [
      ["Throughput", `${rate(last[FIELDS.rate])}/s`, "acknowledged"],
      ["Lateness p99", late ? millis(late.p99_ms) : "–", late ? `max ${millis(late.max_ms)}` : "no schedule"],
      ["In flight", whole.format(snapshot.in_flight), snapshot.permits_allowed ? `${snapshot.permits_in_use} of ${snapshot.permits_allowed} lanes busy` : ""],
      ["Buffered", whole.format(snapshot.buffered), "read, not handed over"],
      ["Not yet durable", whole.format(unsaved), `${whole.format(snapshot.durable)} saved`],
      ["Retries", whole.format(retries), retries ? "see below" : "none", retries ? "warn" : ""],
      ["Quarantined", whole.format(quarantined), quarantined ? "here and by the gate" : "none", quarantined ? "bad" : ""],
    ];
    fill($("tiles"), items,
      () => make("div", { class: "tile" }, make("dt"), make("dd"), make("dd", { class: "hint" })),
      (element, [name, value, hint, tone = ""]) => {
        text(element.children[0], name); text(element.children[1], value); text(element.children[2], hint);
        element.dataset.tone = tone;
      });
  };
  const showTables = (stream) => {
    const { snapshot } = stream;
    const row = (cells) => () => make("tr", {}, ...cells.map((kind) => make("td", kind ? { class: kind } : {})));
    const cells = (element, values) => values.forEach((value, index) => text(element.children[index], value));
    fill($("outputs"), snapshot.outputs || [], row(["", "num", "mono"]),
      (element, output) => cells(element, [output.output_id, whole.format(output.acknowledged), eventTime(output.event_time)]));
    const gate = Object.entries(snapshot.decisions || {}).map(([name, count]) => [name.toUpperCase(), count]);
    if (snapshot.refused) gate.push(["refused", snapshot.refused]);
    for (const [cause, count] of Object.entries(snapshot.retries || {})) gate.push([`retried: ${cause}`, count]);
    fill($("gate"), gate, row(["", "num"]), (element, [name, count]) => cells(element, [name, whole.format(count)]));
    fill($("audit"), stream.audit,
      () => make("li", {}, make("time"), make("span", { class: "kind" }), make("span", { class: "text" })),
      (element, record) => {
        const when = record.ts_utc || "";
        element.children[0].setAttribute("datetime", when);
        cells(element, [when.slice(11, 19), record.kind || "", record.text || ""]);
      });
    $("no-audit").hidden = stream.audit.length > 0;
  };
  const bannerOf = (stream) => {
    const { snapshot } = stream;
    if (link !== "live") return ["The console does not answer. What is shown is the last that it said; this page tries again.", "bad"];
    if (stream.over) {
      const reason = stream.over.reason;
      const [sentence, tone] = reason === null || reason === undefined ? ["It ended; its audit is being read", "info"] : ENDS[reason] || [`Failed: ${reason}`, "bad"];
      return [`This stream has ended. ${sentence}. What is shown is its last picture.`, tone];
    }
    if (stream.age > 3) return [`The stream has not answered for ${whole.format(stream.age)} s: its process stands still, or the machine is busy.`, "warn"];
    if (snapshot.gate_away) return [`The ingestion gate takes no event for ${snapshot.gate_away.seconds} s: ${snapshot.gate_away.cause}`, "bad"];
    if (snapshot.store_away) return [`The checkpoint store takes no cursor for ${snapshot.store_away.seconds} s: ${snapshot.store_away.cause}`, "bad"];
    if (picture.trouble) return [picture.trouble, "warn"];
    return null;
  };
  const showSteering = (stream) => {
    $("controls").hidden = !maySteer;
    $("read-only").hidden = maySteer;
    const over = Boolean(stream.over) || link !== "live";
    const paused = stream.snapshot.state === "paused";
    const able = { pause: !paused, resume: paused, step: paused, repace: true, "pause-at-go": true, stop: true };
    for (const [id, is] of Object.entries(able)) $(id).disabled = over || !is;
  };
  const show = () => {
    const stream = selected ? streams.get(selected) : null;
    $("stream").hidden = !stream;
    $("empty").hidden = Boolean(stream);
    const banner = stream ? bannerOf(stream) : link === "live" || link === "waiting" ? null : ["The console does not answer; this page tries again.", "bad"];
    $("banner").hidden = !banner;
    if (banner) { text($("banner"), banner[0]); $("banner").className = `banner ${banner[1]}`; }
    showEnded();
    if (!stream) { document.title = "No stream · WSP console"; return; }
    $("stream").classList.toggle("over", Boolean(stream.over));
    showHead(stream); showTiles(stream); showTables(stream); showSteering(stream); showPlots(stream);
    const word = stream.over ? "ended" : (STATES[stream.snapshot.state] || [stream.snapshot.state])[0];
    document.title = `${word} · ${stream.run} · WSP console`;
    const now = `${selected} ${banner && stream.over ? banner[0] : word}`;
    if (now !== lastState) { lastState = now; say(`Stream ${stream.run}: ${banner && stream.over ? banner[0] : word}`); }
  };
  const showEnded = () => {
    $("ended-box").hidden = picture.ended.length === 0;
    fill($("ended"), picture.ended, () => make("li", {}, make("span", { class: "mono" }), make("span")),
      (element, ended) => {
        text(element.children[0], `${ended.run} · process ${ended.stream}`);
        text(element.children[1], ended.reason === null ? "ending" : (ENDS[ended.reason] || [ended.reason])[0]);
      });
  };
  const showTabs = () => {
    const shown = [...streams.entries()];
    fill($("streams"), shown,
      () => {
        const button = make("button", { type: "button" }, make("span", { class: "dot", "aria-hidden": "true" }), make("span"));
        button.addEventListener("click", () => { selected = button.dataset.key; showTabs(); show(); $("main").focus({ preventScroll: true }); });
        return make("li", {}, button);
      },
      (element, [key, stream]) => {
        const button = element.firstElementChild;
        button.dataset.key = key;
        button.setAttribute("aria-current", String(key === selected));
        const tone = stream.over ? "" : (STATES[stream.snapshot.state] || ["", ""])[1];
        button.children[0].dataset.tone = tone;
        text(button.children[1], `${stream.run} · ${stream.stream}${stream.over ? " (ended)" : ""}`);
      });
  };

  // ---- What comes ---------------------------------------------------------------------------
  let maySteer = false;
  let link = "waiting";
  const setLink = (state) => {
    link = state;
    $("link").dataset.state = state;
    text($("link-text"), { live: "live", waiting: "connecting", lost: "console away" }[state]);
  };
  const take = (told) => {
    picture = told;
    maySteer = told.may_steer;
    const live = new Set();
    for (const stream of told.streams) {
      const key = keyOf(stream);
      live.add(key);
      const known = streams.get(key);
      // A stream of the same name that comes after one that ended is another one.
      const kept = known && !known.over && stream.first_point > 0 ? known.points : [];
      const points = kept.concat(stream.points).slice(-MOST_POINTS);
      streams.set(key, { ...stream, points, age: stream.age_s, over: null });
    }
    for (const [key, stream] of streams) {
      if (live.has(key)) continue;
      const ended = told.ended.find((one) => keyOf(one) === key);
      stream.over = ended || { reason: "UNKNOWN" };
      // Only the picture that somebody looks at is kept.
      if (key !== selected) streams.delete(key);
    }
    if (!selected || !streams.has(selected)) selected = streams.keys().next().value || null;
    showTabs();
    show();
  };
  const connect = () => {
    const source = new EventSource("/events");
    source.onmessage = (event) => { setLink("live"); take(JSON.parse(event.data)); };
    source.onerror = () => {
      setLink("lost");
      show();
      // A browser gives up for good where the console answered with an error.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
    };
  };

  // ---- Acts -----------------------------------------------------------------------------------
  const answer = (sentence, isBad) => { text($("said"), sentence); $("said").className = isBad ? "said bad" : "said"; };
  const act = async (request, done) => {
    const [run, stream] = [streams.get(selected).run, streams.get(selected).stream];
    const name = $("name").value.trim();
    const body = { version: 1, ...request };
    if (name) body.on_behalf_of = name;
    answer("…", false);
    try {
      const response = await fetch(`/api/streams/${encodeURIComponent(run)}/${encodeURIComponent(stream)}/act`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${$("token").value.trim() || "none"}` },
        body: JSON.stringify(body),
      });
      const said = await response.json();
      answer(said.applied ? done : `Not done: ${said.refused}`, !said.applied);
      if (response.status === 401) $("token").focus();
    } catch (error) {
      answer(`Not done: the console does not answer (${error.message})`, true);
    }
  };
  $("pause").addEventListener("click", () => act({ act: "pause" }, "Paused."));
  $("resume").addEventListener("click", () => act({ act: "resume" }, "Resumed."));
  $("step").addEventListener("click", () => {
    const events = Number($("steps").value);
    if (!Number.isSafeInteger(events) || events < 1) { answer("Steps are a whole number of at least 1.", true); $("steps").focus(); return; }
    act({ act: "step", events }, `Stepped ${whole.format(events)} events.`);
  });
  $("repace").addEventListener("click", () => {
    const value = $("pace-value").value.trim();
    if ($("pace-kind").value === "rate") { act({ act: "pace", rate: value }, `The pace is ${value} events a second now.`); return; }
    const speedup = Number(value);
    if (value === "" || !Number.isFinite(speedup) || speedup < 0) { answer("A speedup is a number of at least 0; 0 is as fast as possible.", true); $("pace-value").focus(); return; }
    act({ act: "pace", speedup }, `The pace is ${value} times event time now.`);
  });
  $("pause-at-go").addEventListener("click", () => {
    const time = $("pause-at").value.trim();
    if (!time) { answer("Name an event time, such as 2026-01-28T08:00:00Z.", true); $("pause-at").focus(); return; }
    act({ act: "pause_at", event_time: time }, `It pauses before the first event at ${time} or later.`);
  });
  const confirm = $("confirm");
  $("stop").addEventListener("click", () => {
    const stream = streams.get(selected);
    text($("confirm-text"), `${stream.run}, process ${stream.stream}: answers under way are waited for, cursors are saved, and the process ends. A rerun resumes.`);
    confirm.showModal();
  });
  $("confirm-no").addEventListener("click", () => confirm.close());
  $("confirm-yes").addEventListener("click", () => { confirm.close(); act({ act: "stop" }, "It is stopping."); });
  $("controls").addEventListener("submit", (event) => event.preventDefault());

  setLink("waiting");
  connect();
})();
