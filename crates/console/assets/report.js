"use strict";
(() => {
  const data = JSON.parse(document.getElementById("plots").textContent);
  const places = document.getElementById("places");
  const light = ["#2456c8", "#c2560c", "#0b6b4f", "#8b3fb0", "#b3261e", "#3d7a8c", "#7a6a00", "#5a6475"];
  const dark = ["#8db1ff", "#f0a35e", "#6fd7b1", "#d3a2ee", "#ff9c93", "#8fd0e2", "#e0d070", "#a3aec0"];
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  let drawn = [];

  const short = (value) => {
    if (value == null) return "–";
    const size = Math.abs(value);
    if (size >= 1e6) return `${+(value / 1e6).toFixed(2)} M`;
    if (size >= 1e4) return `${+(value / 1e3).toFixed(1)} k`;
    return `${+value.toFixed(2)}`;
  };

  const draw = (plot, onPaper) => {
    const isDark = wantsDark.matches && !onPaper;
    const colours = isDark ? dark : light;
    const [ink, grid] = isDark ? ["#a3aec0", "#242c39"] : ["#535d6e", "#e8ebf1"];
    const card = document.createElement("section");
    card.className = "card";
    const title = document.createElement("h2");
    title.textContent = `${plot.title}, ${plot.unit}`;
    card.append(title);
    places.append(card);
    const classes = plot.classes;
    const xs = classes ? classes.map((_, at) => at) : data.seconds;
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    const named = (at) => (classes ? classes[at] ?? "" : `${short(at)} s`);
    const series = plot.lines.map((line, at) => ({
      label: line.name,
      stroke: colours[at % colours.length],
      width: 1.5,
      value: (_, value) => short(value),
      ...(classes ? { paths: uPlot.paths.bars({ size: [0.8 - 0.3 * at, 60] }), fill: `${colours[at % colours.length]}66` } : {}),
    }));
    const options = {
      width: Math.max(card.clientWidth - 34, 200),
      height: 220,
      cursor: { drag: { setScale: false } },
      scales: { x: { time: false, ...(classes ? { range: [-0.6, classes.length - 0.4] } : {}) }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
      series: [{ label: classes ? "lateness" : "since the beginning", value: (_, at) => (at == null ? "–" : named(at)) }, ...series],
      axes: [
        { ...axis, ...(classes ? { splits: () => xs, values: (_, ats) => ats.map(named), rotate: -45, size: 70 } : { values: (_, ats) => ats.map(named) }) },
        { ...axis, values: (_, values) => values.map(short), size: 60 },
      ],
    };
    drawn.push({ card, chart: new uPlot(options, [xs, ...plot.lines.map((line) => line.values)], card) });
  };

  const drawAll = (onPaper) => {
    drawn.forEach(({ card, chart }) => { chart.destroy(); card.remove(); });
    drawn = [];
    data.plots.forEach((plot) => draw(plot, onPaper));
  };

  drawAll(false);
  wantsDark.addEventListener("change", () => drawAll(false));
  addEventListener("beforeprint", () => drawAll(true));
  addEventListener("afterprint", () => drawAll(false));
  let width = innerWidth;
  addEventListener("resize", () => {
    // A phone's address bar changes the height alone.
    if (innerWidth === width) return;
    width = innerWidth;
    drawn.forEach(({ card, chart }) => chart.setSize({ width: Math.max(card.clientWidth - 34, 200), height: 220 }));
  });
})();
